"""Dropout with a mask from a fast random generator."""

import keras
from keras import ops

from small_vit.layers.counter_random import bernoulli, next_key


@keras.saving.register_keras_serializable(package="small_vit")
class FastDropout(keras.layers.Dropout):
    """`keras.layers.Dropout` with a fast random generator (`small_vit.layers.counter_random`).

    Arguments and state are the same; the random numbers are others. A mask depends on the layer's
    seed, on the number of masks drawn before and on the position, not on the backend.

    Args:
        rate: Part of the inputs to drop, at least 0 and below 1; the others are scaled by
            1 / (1 - rate).
        noise_shape: Shape of the mask, to broadcast; None in it means the input's size.
        seed: Seed of the draws.

    Call arguments:
        inputs: Of any shape.
        training: Whether to drop; without it inputs pass through.

    Returns:
        The same shape.

    Raises:
        ValueError: if `rate` is out of range.
    """

    def __init__(self, rate, noise_shape=None, seed=None, **kwargs):
        super().__init__(rate, noise_shape=noise_shape, seed=seed, **kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"`rate` must be at least 0 and below 1. Received: rate={rate}")

    def call(self, inputs, training=False):
        """Return `inputs`, with some of them dropped in training."""
        if not training or self.rate == 0:
            return inputs
        return fast_dropout(inputs, self.rate, self.seed_generator, self.noise_shape)


def fast_dropout(inputs, rate, seed_generator, noise_shape=None):
    """Drop part of `inputs` and scale the others, by the next draw of a Keras `SeedGenerator`.

    Args:
        inputs, rate, noise_shape: As for `FastDropout`.
        seed_generator: `keras.random.SeedGenerator`; it counts the draws.

    Returns:
        Like `inputs`.
    """
    shape = ops.shape(inputs)
    if noise_shape is not None:
        shape = tuple(n or side for n, side in zip(noise_shape, shape, strict=True))
    dropped = bernoulli(next_key(seed_generator), shape, rate)
    return ops.where(dropped, ops.zeros_like(inputs), inputs * (1 / (1 - rate)))
