"""Random crops of the padded image."""

import keras
from keras import ops

from small_vit.augment.image_augmentation import ImageAugmentation
from small_vit.augment.pixels import take_pixels
from small_vit.layers.counter_random import uniform


@keras.saving.register_keras_serializable(package="small_vit")
class PaddedRandomCrop(ImageAugmentation):
    """Pads each image on all sides and crops it to its size, at an offset drawn for each image.

    It shifts the image by whole pixels, -`padding` to `padding` down and right, all equally likely.

    Keras's `RandomCrop` crops all images of a batch at the same place, and does not pad.

    Args:
        padding: Pixels on each side, at least 0.
        fill: Value of the padding.
        seed: Seed of the draws.

    Call arguments:
        images: `(batch, height, width, channels)`, of any type.
        training: Whether to crop; without it images pass through.

    Returns:
        Images of the same shape, of the layer's compute type.

    Raises:
        ValueError: if `padding` is not an integer or below 0.

    Source: He et al., arXiv 1512.03385, section 4.2; the paper's code uses it with padding 4.
    """

    def __init__(self, padding=4, fill=0.0, seed=None, **kwargs):
        super().__init__(seed=seed, **kwargs)
        if not isinstance(padding, int) or padding < 0:
            raise ValueError(
                f"`padding` must be an integer of at least 0. Received: padding={padding}"
            )
        self.padding = padding
        self.fill = fill

    def augment(self, images, key):
        """Return `images`, each shifted."""
        offsets = draw_offsets(key, ops.shape(images)[0], self.padding)
        return crop(images, *offsets, self.padding, self.fill)

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), "padding": self.padding, "fill": self.fill}


def draw_offsets(key, batch, padding):
    """Draw where in the padded image each crop begins.

    Args:
        key: From `small_vit.layers.counter_random`.
        batch: Number of images.
        padding: Pixels on each side.

    Returns:
        Rows and columns, each int32 `(batch,)`, 0 to 2 `padding`.
    """
    rows, columns = ops.unstack(uniform(key, (2, batch), 0.0, 2 * padding + 1), num=2)
    return ops.cast(rows, "int32"), ops.cast(columns, "int32")


def crop(images, rows, columns, padding, fill=0.0):
    """Crop each image out of its padded version.

    Args:
        images: `(batch, height, width, channels)`.
        rows, columns: int32 `(batch,)`, where in the padded image the crop begins.
        padding: Pixels on each side.
        fill: Value of the padding.

    Returns:
        `(batch, height, width, channels)`.
    """
    height, width = images.shape[1:3]
    sides = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = ops.pad(images, sides, constant_values=fill)
    rows = rows[:, None, None] + ops.arange(height, dtype="int32")[:, None]
    columns = columns[:, None, None] + ops.arange(width, dtype="int32")
    return take_pixels(padded, rows, columns)
