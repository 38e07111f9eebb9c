"""Flip, rotation, zoom and shift in one resampling."""

import math

import keras
from keras import ops

from small_vit.augment.image_augmentation import ImageAugmentation
from small_vit.augment.pixels import take_pixels
from small_vit.layers.counter_random import uniform


@keras.saving.register_keras_serializable(package="small_vit")
class RandomAffine(ImageAugmentation):
    """Flips, rotates, zooms and shifts each image at random, in one bilinear resampling.

    It replaces Keras's `RandomFlip("horizontal")`, `RandomRotation`, `RandomZoom` and
    `RandomTranslation`, in this order and with their fill (`"reflect"`), by one matrix and one
    gather. Unlike them it compiles with XLA; one of them in a model turns XLA off for the step.

    Args:
        flip: Whether to mirror left to right with probability 1/2.
        rotation: Largest rotation either way, in turns.
        zoom: Largest zoom: the visible part of the image is 1 - zoom to 1 + zoom times as high. The
            same holds for the width, drawn separately.
        translation: Largest shift either way, as a fraction of the side, drawn separately for the
            two directions.
        seed: Seed of the draws.

    Call arguments:
        images: `(batch, height, width, channels)`, of any type.
        training: Whether to augment; without it images pass through.

    Returns:
        Images of the same shape, of the layer's compute type.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(self, flip=True, rotation=0.02, zoom=0.2, translation=0.0, seed=None, **kwargs):
        super().__init__(seed=seed, **kwargs)
        for name, value in (("rotation", rotation), ("translation", translation)):
            if value < 0:
                raise ValueError(f"`{name}` must be at least 0. Received: {name}={value}")
        if not 0 <= zoom < 1:
            raise ValueError(f"`zoom` must be at least 0 and below 1. Received: zoom={zoom}")
        self.flip = flip
        self.rotation = rotation
        self.zoom = zoom
        self.translation = translation

    def augment(self, images, key):
        """Return `images`, each flipped, rotated, zoomed and shifted."""
        unit = uniform(key, (6, ops.shape(images)[0]), -1.0, 1.0)
        if not (self.rotation or self.zoom or self.translation):
            mirrored = unit[0] < (0 if self.flip else -1)
            return ops.where(mirrored[:, None, None, None], ops.flip(images, axis=2), images)
        return warp(images, self._matrices(unit, images.shape[1:3]))

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "flip": self.flip,
            "rotation": self.rotation,
            "zoom": self.zoom,
            "translation": self.translation,
        }

    def _matrices(self, unit, image_size):
        height, width = image_size
        mirror = ops.where(unit[0] < 0, -1.0, 1.0) if self.flip else ops.ones_like(unit[0])
        angle = unit[1] * (self.rotation * 2 * math.pi)
        zoom_y, zoom_x = 1.0 + unit[2] * self.zoom, 1.0 + unit[3] * self.zoom
        down, right = unit[4] * self.translation * height, unit[5] * self.translation * width
        return affine_matrices(mirror, angle, zoom_y, zoom_x, down, right)


def affine_matrices(mirror, angle, zoom_y, zoom_x, down, right):
    """Return the matrices from output pixels to input pixels, relative to the image's centre.

    Args:
        mirror: `(batch,)`, -1 to flip left to right, else 1.
        angle: `(batch,)`, radians.
        zoom_y, zoom_x: `(batch,)`, above 1 to zoom out.
        down, right: `(batch,)`, pixels.

    Returns:
        `(batch, 2, 3)`: rows y and x, columns y, x and constant. The image is flipped, then
        rotated, zoomed and shifted; the matrix applies the inverses in reverse order.
    """
    cos, sin = ops.cos(angle), ops.sin(angle)
    y_from_y, y_from_x = cos * zoom_y, sin * zoom_x
    x_from_y, x_from_x = -mirror * sin * zoom_y, mirror * cos * zoom_x
    y_constant = -(y_from_y * down + y_from_x * right)
    x_constant = -(x_from_y * down + x_from_x * right)
    rows = [[y_from_y, y_from_x, y_constant], [x_from_y, x_from_x, x_constant]]
    return ops.stack([ops.stack(row, axis=-1) for row in rows], axis=-2)


def warp(images, matrices):
    """Resample `images` bilinearly at the positions of `matrices`, reflecting at the borders.

    Args:
        images: `(batch, height, width, channels)`.
        matrices: `(batch, 2, 3)` as made by `affine_matrices`.

    Returns:
        `(batch, height, width, channels)`.
    """
    height, width = images.shape[1:3]
    y = ops.reshape(ops.arange(height, dtype="float32") - (height - 1) / 2, (1, height, 1))
    x = ops.reshape(ops.arange(width, dtype="float32") - (width - 1) / 2, (1, 1, width))
    m = ops.expand_dims(ops.expand_dims(matrices, -1), -1)  # (batch, 2, 3, 1, 1)
    source_y = m[:, 0, 0] * y + m[:, 0, 1] * x + m[:, 0, 2] + (height - 1) / 2
    source_x = m[:, 1, 0] * y + m[:, 1, 1] * x + m[:, 1, 2] + (width - 1) / 2  # (batch, h, w)
    top, left = ops.floor(source_y), ops.floor(source_x)
    part_down, part_right = source_y - top, source_x - left

    # In half precision the four weights would not sum to one.
    def tap(row, column, weight):
        pixels = take_pixels(images, _reflect(row, height), _reflect(column, width))
        return ops.cast(pixels, "float32") * weight[..., None]

    warped = (
        tap(top, left, (1 - part_down) * (1 - part_right))
        + tap(top, left + 1, (1 - part_down) * part_right)
        + tap(top + 1, left, part_down * (1 - part_right))
        + tap(top + 1, left + 1, part_down * part_right)
    )
    return ops.cast(warped, images.dtype)


def _reflect(position, length):
    """Fold positions beyond the border back: (c b a | a b c | c b a)."""
    position = ops.mod(ops.cast(position, "int32"), 2 * length)
    return ops.minimum(position, 2 * length - 1 - position)
