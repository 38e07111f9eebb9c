"""Base class of the layers that change each image."""

import keras
from keras import ops

from small_vit.layers.counter_random import next_key


class ImageAugmentation(keras.layers.Layer):
    """Changes each image of a batch at random in training, and passes it through otherwise.

    A subclass has `augment(images, key)`, which draws all its random numbers from `key`.

    Args:
        seed: Seed of the draws.

    Call arguments:
        images: `(batch, height, width, channels)`, of any type.
        training: Whether to augment; without it images pass through.

    Returns:
        Images of the same shape, of the layer's compute type.
    """

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images, training=False):
        """Return `images`, augmented in training."""
        images = ops.cast(images, self.compute_dtype)
        if not training:
            return images
        return self.augment(images, next_key(self.seed_generator))

    def compute_output_shape(self, input_shape):
        """Return the shape of the images."""
        return input_shape

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), "seed": self.seed}
