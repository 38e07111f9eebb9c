"""The first layers of every family: raw images, normalised and resized."""

import keras

from small_vit.layers import Resize
from small_vit.sizes import as_pair


def prepared_images(image_shape, image_size, normalization=None):
    """Return the input of a classifier, and its images as the family's own layers take them.

    Args:
        image_shape: (height, width, channels) of the raw images.
        image_size: Side to which they are resized, or (height, width).
        normalization: Layer applied to the raw images. Default: a `keras.layers.Normalization`,
            which is the identity until it is adapted.

    Returns:
        `(images, x)`, symbolic: `(batch, *image_shape)` and
        `(batch, *image_size, image_shape[2])`.
    """
    images = keras.Input(image_shape, name="images")
    x = (normalization or keras.layers.Normalization(name="normalization"))(images)
    if as_pair(image_size, "image_size") != tuple(image_shape[:2]):
        x = Resize(image_size, name="resize")(x)
    return images, x
