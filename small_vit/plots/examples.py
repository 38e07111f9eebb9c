"""Pictures of images: grids with captions, and rows of examples of each class.

Every pixel of an image becomes a square of whole pixels. Large photos are reduced first.
"""

import math

import numpy as np
from matplotlib.figure import Figure

from small_vit.data.image_files import scale_image
from small_vit.plots.labels import fitted, text_width

_DPI = 150
_POINTS = 72 / _DPI
_TEXT_SIZE = 7.5
_LINE = 18
_GAP = 6
_LARGEST_CAPTIONED = 64
_LARGEST_SAMPLE = 48
_NAME_WIDTH = 170
_CAPTION_WIDTH = 176
_MOST_BYTES = 220_000


def plot_captioned(images, captions, columns=5):
    """Draw images in a grid, each with lines of text below it.

    Args:
        images: uint8 `(images, height, width, 1 or 3)`.
        captions: For each image a list of lines, the same number for all; those that are too wide
            are shortened.
        columns: Number of images in a row.

    Returns:
        The figure.
    """
    shown = _thumbnails(images, _side(len(images), _LARGEST_CAPTIONED), enlarge_to=128)
    height, width = shown.shape[1:3]
    room = max(width, _CAPTION_WIDTH)
    across, down = room + 2 * _GAP, height + len(captions[0]) * _LINE + 3 * _GAP
    rows = math.ceil(len(shown) / columns)
    canvas = np.ones((rows * down, min(columns, len(shown)) * across, 3))
    figure, axes = _canvas_axes(canvas.shape)
    for place, (image, lines) in enumerate(zip(shown, captions, strict=True)):
        top, left = place // columns * down + _GAP, place % columns * across + _GAP
        inset = left + (room - width) // 2
        canvas[top : top + height, inset : inset + width] = image
        for number, line in enumerate(lines):
            text = fitted(line, room * _POINTS, _TEXT_SIZE)
            middle = top + height + (number + 0.6) * _LINE
            _write(axes, left + room / 2, middle, text, "center")
    _fill(axes, canvas)
    return figure


def plot_samples(images, names):
    """Draw a row of images for each class, with the name of the class to the left.

    Args:
        images: For each class uint8 `(images, height, width, 1 or 3)`.
        names: Name of each class.

    Returns:
        The figure.
    """
    largest = _side(sum(map(len, images)), _LARGEST_SAMPLE)
    shown = [_thumbnails(each, largest, enlarge_to=96) for each in images]
    height, width = shown[0].shape[1:3]
    down, across = height + _GAP, width + _GAP
    texts = [fitted(name, _NAME_WIDTH * _POINTS, _TEXT_SIZE) for name in names]
    widest = max(text_width(text, _TEXT_SIZE) for text in texts)
    first = math.ceil(widest / _POINTS) + 3 * _GAP
    canvas = np.ones((len(shown) * down, first + max(map(len, shown)) * across, 3))
    figure, axes = _canvas_axes(canvas.shape)
    for row, (text, thumbnails) in enumerate(zip(texts, shown, strict=True)):
        top = row * down
        _write(axes, first - 2 * _GAP, top + height / 2, text, "right")
        for column, image in enumerate(thumbnails):
            left = first + column * across
            canvas[top : top + height, left : left + width] = image
    _fill(axes, canvas)
    return figure


def samples_per_class(image_shape, classes):
    """Return how many images of each class `plot_samples` can show in a file of moderate size.

    Args:
        image_shape: (height, width, channels).
        classes: Number of classes.

    Returns:
        Int from 2 to 8.
    """
    height, width, channels = image_shape
    reduction = max(1, max(height, width) / _LARGEST_SAMPLE)
    size = height * width * channels / reduction**2
    return int(min(max(_MOST_BYTES / (classes * size), 2), 8))


def _side(images, largest):
    """The largest side of each of some colour images in a file of moderate size."""
    return min(largest, int(math.sqrt(_MOST_BYTES / (3 * images))))


def _thumbnails(images, largest, enlarge_to):
    """Reduce images to a largest side, then enlarge every pixel to a square.

    Returns:
        Floats in 0..1, `(images, height, width, 3)`.
    """
    side = max(images.shape[1:3])
    if side > largest:
        size = [max(1, round(each * largest / side)) for each in images.shape[1:3]]
        images = np.stack([scale_image(image, size) for image in images])
    times = max(1, enlarge_to // max(images.shape[1:3]))
    enlarged = images.repeat(times, axis=1).repeat(times, axis=2) / 255
    return np.broadcast_to(enlarged, (*enlarged.shape[:3], 3))


def _canvas_axes(shape):
    """Make a figure of which every pixel is a pixel of a canvas."""
    height, width = shape[:2]
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    return figure, axes


def _write(axes, x, y, text, side):
    axes.text(x, y, text, fontsize=_TEXT_SIZE, ha=side, va="center")


def _fill(axes, canvas):
    height, width = canvas.shape[:2]
    axes.imshow(canvas, extent=(0, width, height, 0), interpolation="none", aspect="auto")
