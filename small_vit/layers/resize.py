"""Antialiased resizing."""

import keras
import numpy as np
from keras import ops

from small_vit.sizes import as_pair


@keras.saving.register_keras_serializable(package="small_vit")
class Resize(keras.layers.Layer):
    """Resizes images bilinearly, without keeping their proportions, and antialiases if they shrink.

    Images are enlarged as by `keras.ops.image.resize`. If a side shrinks, each new pixel is the
    weighted mean of all pixels it covers, as in Pillow and `jax.image.resize`. This takes two
    matrix products, since TensorFlow's antialiasing does not compile with XLA.

    Unlike `keras.layers.Resizing` it has no argument `training`. That layer counts as training if
    it is called without `training`, and so switches on every dropout after it.

    Args:
        size: Side of the resized images in pixels, or (height, width).

    Call arguments:
        images: `(batch, height, width, channels)`, of any type; height and width must be known.

    Returns:
        `(batch, *size, channels)`, of the layer's compute type.

    Raises:
        ValueError: if `size` is not a size, or the images' height or width is not known.
    """

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = as_pair(size, "size")

    def build(self, input_shape):
        """Compute the weights of the means, if a side shrinks."""
        sides = tuple(input_shape[1:3])
        if None in sides:
            raise ValueError(
                "Resize needs images of a known height and width. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        self.input_spec = keras.InputSpec(shape=(None, *sides, input_shape[3]))
        self._means = None
        if any(new < old for new, old in zip(self.size, sides, strict=True)):
            self._means = [_triangle_means(*pair) for pair in zip(sides, self.size, strict=True)]

    def call(self, images):
        """Return `images`, resized."""
        images = ops.cast(images, self.compute_dtype)
        if self._means is None:
            return ops.image.resize(images, self.size, data_format="channels_last")
        # In half precision the weights of a mean would not sum to one.
        down, right = self._means
        resized = ops.einsum("yh,bhwc->bywc", down, ops.cast(images, "float32"))
        resized = ops.einsum("xw,bywc->byxc", right, resized)
        return ops.cast(resized, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """Return the shape of the resized images."""
        return (input_shape[0], *self.size, input_shape[3])

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), "size": self.size}


def _triangle_means(old, new):
    """Weights of the old pixels of a side in each new pixel, float32 `(new, old)`; rows sum to one.

    A weight falls linearly with the distance of the two centres. It is zero at the width of the
    larger pixel.
    """
    reach = max(old / new, 1)
    centers = (np.arange(new) + 0.5) * old / new
    distances = np.abs(centers[:, None] - (np.arange(old) + 0.5))
    weights = np.maximum(1 - distances / reach, 0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype("float32")
