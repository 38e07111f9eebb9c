"""AutoAugment's operations on batches, with a magnitude for each image.

They take and return float32 whole numbers 0 to 255, `(batch, height, width, channels)`, with 1 or 3
channels. The values are those that Pillow gives for the same image, unless a docstring says
otherwise. `magnitude` is float32 `(batch, 1, 1, 1)`.
"""

import math

import numpy as np
from keras import ops

from small_vit.augment.pixels import take_each, take_pixels

_FILL = 128.0
# Pillow rotates in fixed point, with this many steps per pixel.
_STEPS = 2**16


def invert(images, magnitude):
    """Invert the values."""
    return 255 - images


def solarize(images, magnitude):
    """Invert the values that are at least `magnitude`, 0 to 256."""
    return ops.where(images < magnitude, images, 255 - images)


def posterize(images, magnitude):
    """Keep the upper `magnitude` bits, 1 to 8."""
    step = ops.round(2.0 ** (8 - magnitude))
    return ops.floor(images / step) * step


def autocontrast(images, magnitude):
    """Stretch each channel to 0 to 255.

    A value may be one higher than Pillow's: Pillow's quotient can be just below a whole number by
    a rounding error. This rounds down the exact quotient.
    """
    low = ops.min(images, axis=(1, 2), keepdims=True)
    span = ops.max(images, axis=(1, 2), keepdims=True) - low
    # 1e-3 changes no other quotient: these are at least 1/255 below the next whole number.
    stretched = ops.floor((images - low) * 255 / ops.maximum(span, 1) + 1e-3)
    return ops.where(span > 0, stretched, images)


def equalize(images, magnitude):
    """Spread each channel's values so that all occur about equally often."""
    channels = images.shape[-1]
    # The histograms, and the tables, of an image's channels are concatenated.
    levels = ops.cast(images, "int32") + 256 * ops.arange(channels, dtype="int32")
    counts = _count_each(levels, 256 * channels)
    counts = ops.reshape(ops.cast(counts, "float32"), (-1, channels, 256))
    below = ops.cumsum(counts, axis=-1) - counts
    below_brightest = ops.max(ops.where(counts > 0, below, 0), axis=-1, keepdims=True)
    step = _floor_divide(below_brightest, 255)
    spread = _floor_divide(ops.floor(step / 2) + below, ops.maximum(step, 1))
    same = ops.arange(256, dtype="float32")
    table = ops.where(step > 0, ops.minimum(spread, 255), same)
    return take_each(ops.reshape(table, (-1, 256 * channels)), levels)


def brightness(images, magnitude):
    """Blend black (magnitude 0) with the image (1); above 1 extrapolate."""
    return _blend(ops.zeros_like(images), images, magnitude)


def color(images, magnitude):
    """Blend grey levels (magnitude 0) with the image (1); above 1 extrapolate."""
    return _blend(_grey(images), images, magnitude)


def contrast(images, magnitude):
    """Blend the mean grey level (magnitude 0) with the image (1); above 1 extrapolate."""
    mean = ops.mean(_grey(images), axis=(1, 2, 3), keepdims=True)
    return _blend(ops.floor(mean + 0.5), images, magnitude)


def sharpness(images, magnitude):
    """Blend the smoothed image (magnitude 0) with the image (1); the border does not change."""
    padded = ops.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    columns = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    around = columns[:, :, :-2] + columns[:, :, 1:-1] + columns[:, :, 2:]
    smooth = ops.floor((around + 4 * images) / 13 + 0.5)  # The pixel counts five times.
    inner = np.zeros((*images.shape[1:3], 1), bool)
    inner[1:-1, 1:-1] = True
    return _blend(ops.where(inner, smooth, images), images, magnitude)


def translate_x(images, magnitude):
    """Shift the image left by `magnitude` widths."""
    rows, columns = _positions(images)
    return _take_or_fill(images, rows, columns + _round_half_up(magnitude * images.shape[2]))


def translate_y(images, magnitude):
    """Shift the image up by `magnitude` heights."""
    rows, columns = _positions(images)
    return _take_or_fill(images, rows + _round_half_up(magnitude * images.shape[1]), columns)


def rotate(images, magnitude):
    """Turn counter-clockwise about the centre by `magnitude` degrees, to the nearest pixels."""
    height, width = images.shape[1:3]
    angle = magnitude * (math.pi / 180)
    cos, sin = ops.cos(angle), ops.sin(angle)
    # Distance from the centre of the top left pixel to the centre of the image.
    down, right = (height - 1) / 2, (width - 1) / 2
    rows, columns = _positions(images)

    def source(from_row, from_column, start):
        from_row, from_column, start = (
            _round_half_up(_STEPS * each) for each in (from_row, from_column, start)
        )
        return ops.floor((rows * from_row + columns * from_column + start) / _STEPS)

    source_rows = source(cos, sin, height / 2 - down * cos - right * sin)
    source_columns = source(-sin, cos, width / 2 + down * sin - right * cos)
    return _take_or_fill(images, source_rows, source_columns)


def shear_y(images, magnitude):
    """Shift each column up by `magnitude` times its distance from the left edge, bicubic.

    A value may differ by 1 from Pillow's, which computes in double precision: before rounding down,
    a rounding error may move it across a whole number.
    """
    height = images.shape[1]
    rows, columns = _positions(images)
    source = rows + 0.5 + magnitude * (columns + 0.5)  # (batch, height, width, 1)
    first = ops.floor(source - 0.5)
    beyond = source - 0.5 - first

    def row(step):
        nearest = ops.clip(ops.cast(first, "int32") + step, 0, height - 1)
        return _take(images, nearest, columns)

    above, here, below, last = (row(step) for step in (-1, 0, 1, 2))
    slope, square = below - above, 2 * (above - here) + below - last
    cube = here - above + last - below
    values = here + beyond * (slope + beyond * (square + beyond * cube))
    inside = ops.logical_and(source >= 0, source < height)
    return ops.where(inside, ops.floor(ops.clip(values, 0, 255)), _FILL)


OPERATIONS = {
    operation.__name__: operation
    for operation in (
        autocontrast,
        brightness,
        color,
        contrast,
        equalize,
        invert,
        posterize,
        rotate,
        sharpness,
        shear_y,
        solarize,
        translate_x,
        translate_y,
    )
}


def _blend(degenerate, images, factor):
    """Interpolate from `degenerate` (factor 0) to `images` (factor 1), and round down."""
    # The clip changes no value. It keeps compilers from fusing product and sum, which Pillow rounds
    # separately.
    change = ops.clip(factor * (images - degenerate), -512, 512)
    return ops.floor(ops.clip(degenerate + change, 0, 255))


def _grey(images):
    """Grey levels by ITU-R 601-2, `(batch, height, width, 1)`; float32 holds all terms exactly."""
    if images.shape[-1] == 1:
        return images
    red, green, blue = ops.unstack(images, num=3, axis=-1)
    grey = ops.floor((19595 * red + 38470 * green + 7471 * blue + 2**15) / 2**16)
    return ops.expand_dims(grey, -1)


def _count_each(levels, bins):
    """Count how often each level, 0 to below `bins`, is in each image: int32 `(batch, bins)`."""

    def count(image):
        return ops.segment_sum(ops.ones_like(image), image, num_segments=bins)

    return ops.vectorized_map(count, ops.reshape(levels, (-1, math.prod(levels.shape[1:]))))


def _floor_divide(dividend, divisor):
    """Divide whole numbers up to 2**22 and round down, in float32, which is faster than int32."""
    # Adding 0.5 keeps quotients away from whole numbers, where a rounding error would matter.
    return ops.floor((dividend + 0.5) / divisor)


def _positions(images):
    """Row and column of each pixel, float32, to broadcast over the images."""
    rows = ops.arange(images.shape[1], dtype="float32")[None, :, None, None]
    columns = ops.arange(images.shape[2], dtype="float32")[None, None, :, None]
    return rows, columns


def _take(images, rows, columns):
    rows, columns = (ops.cast(each[..., 0], "int32") for each in (rows, columns))
    return take_pixels(images, rows, columns)


def _take_or_fill(images, rows, columns):
    """Return the pixels at whole positions, and grey for those outside the image."""
    height, width = images.shape[1:3]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    nearest = ops.clip(rows, 0, height - 1), ops.clip(columns, 0, width - 1)
    return ops.where(inside, _take(images, *nearest), _FILL)


def _round_half_up(values):
    return ops.floor(values + 0.5)
