"""Random erasing of a rectangle."""

import keras
from keras import ops

from small_vit.augment.image_augmentation import ImageAugmentation
from small_vit.augment.pixels import inside_boxes
from small_vit.layers.counter_random import uniform

# The reference tries 100 times. 10 are enough: of the default boxes only 1 in 22 does not fit.
_TRIES = 10


@keras.saving.register_keras_serializable(package="small_vit")
class RandomErasing(ImageAugmentation):
    """Overwrites a random rectangle of some of the images with one colour.

    Keras's `RandomErasing` has no range of aspect ratios.

    Area and aspect ratio are drawn uniformly. They are drawn again if the rectangle is not smaller
    than the image, up to ten times in total; after that the image is not changed.

    The paper of SPT and LSA erases after normalisation and fills with the channel means from before
    normalisation. In pixel values that is `fill=255 * (mean + std * mean)`.

    Args:
        probability: Probability to erase in an image, 0 to 1.
        area: Smallest and largest part of the image that is erased.
        aspect: Smallest and largest ratio of the rectangle's height to its width.
        fill: Value, or a value for each channel.
        seed: Seed of the draws.

    Call arguments:
        images: `(batch, height, width, channels)`, of any type.
        training: Whether to erase; without it images pass through.

    Returns:
        Images of the same shape, of the layer's compute type.

    Raises:
        ValueError: if an argument is out of range, or `fill` does not fit the images' channels.

    Source: Zhong et al., arXiv 1708.04896, algorithm 1.
    """

    def __init__(
        self,
        probability=0.25,
        area=(0.02, 0.4),
        aspect=(0.3, 1 / 0.3),
        fill=0.0,
        seed=None,
        **kwargs,
    ):
        super().__init__(seed=seed, **kwargs)
        if not 0 <= probability <= 1:
            raise ValueError(f"`probability` must be 0 to 1. Received: probability={probability}")
        if not (len(area) == 2 and 0 < area[0] <= area[1] <= 1):
            raise ValueError(f"`area` must be (low, high), above 0 to 1. Received: area={area}")
        if not (len(aspect) == 2 and 0 < aspect[0] <= aspect[1]):
            raise ValueError(f"`aspect` must be (low, high), above 0. Received: aspect={aspect}")
        self.probability = probability
        self.area = tuple(area)
        self.aspect = tuple(aspect)
        self.fill = fill if isinstance(fill, int | float) else tuple(fill)

    def augment(self, images, key):
        """Return `images`, some with a rectangle erased."""
        channels = images.shape[-1]
        if not isinstance(self.fill, int | float) and len(self.fill) != channels:
            raise ValueError(
                f"`fill` must be a value, or one for each of the {channels} channels. "
                f"Received: fill={self.fill}"
            )
        boxes = draw_boxes(
            key,
            ops.shape(images)[0],
            images.shape[1:3],
            self.probability,
            self.area,
            self.aspect,
        )
        return erase(images, boxes, self.fill)

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "probability": self.probability,
            "area": self.area,
            "aspect": self.aspect,
            "fill": self.fill,
        }


def draw_boxes(key, batch, image_size, probability, area, aspect):
    """Draw a box for each image.

    Args:
        key: From `small_vit.layers.counter_random`.
        batch: Number of images.
        image_size: (height, width).
        probability, area, aspect: As for `RandomErasing`.

    Returns:
        top, bottom, left and right, whole numbers as float32 `(batch,)`. Bottom and right are the
        first row and column beyond the box. The box is empty if nothing is erased.
    """
    image_height, image_width = image_size
    unit = uniform(key, (2 * _TRIES + 3, batch))
    chance, down, right = ops.unstack(unit[-3:], num=3)
    areas = area[0] + (area[1] - area[0]) * unit[:_TRIES]
    areas = areas * (image_height * image_width)
    aspects = aspect[0] + (aspect[1] - aspect[0]) * unit[_TRIES:-3]
    heights, widths = ops.round(ops.sqrt(areas * aspects)), ops.round(ops.sqrt(areas / aspects))
    fits = ops.logical_and(heights < image_height, widths < image_width)  # (tries, batch)
    chosen = ops.argmax(fits, axis=0)[None]
    erased = ops.logical_and(chance < probability, ops.any(fits, axis=0))
    height = ops.where(erased, ops.take_along_axis(heights, chosen, axis=0)[0], 0.0)
    width = ops.where(erased, ops.take_along_axis(widths, chosen, axis=0)[0], 0.0)
    top = ops.floor(down * (image_height - height + 1))
    left = ops.floor(right * (image_width - width + 1))
    return top, top + height, left, left + width


def erase(images, boxes, fill=0.0):
    """Overwrite a box of each image.

    Args:
        images: `(batch, height, width, channels)`.
        boxes: As from `draw_boxes`.
        fill: Value, or a value for each channel.

    Returns:
        `(batch, height, width, channels)`.
    """
    inside = inside_boxes(images.shape[1:3], *boxes)
    return ops.where(inside, ops.convert_to_tensor(fill, images.dtype), images)
