"""Pictures of the tokenization: an image, its shifted copies, and their patches.

All patches are outputs of `ShiftedPatchTokenization` itself.
"""

import math

import numpy as np
from keras import ops
from matplotlib.figure import Figure

from small_vit.errors import InputError
from small_vit.layers import ShiftedPatchTokenization
from small_vit.layers.shifted_patch_tokenization import SHIFT_DIRECTIONS
from small_vit.sizes import as_pair

_WHITE = (1.0, 1.0, 1.0)
_BLUE = (0.34, 0.71, 0.91)
_HORIZONTAL = {1: ["left"], 0: [], -1: ["right"]}
_VERTICAL = {1: ["up"], 0: [], -1: ["down"]}


def plot_patches(image, patch_size, stride=None):
    """Draw an image and, next to it, the grid of patches of an ordinary ViT.

    Args:
        image: `(height, width, 1 or 3)`, uint8 or floats in 0..1.
        patch_size: Side of a patch in pixels, or (height, width).
        stride: Step from one patch to the next, or (down, right). Default: `patch_size`.

    Returns:
        The figure.

    Raises:
        InputError: if `image` is not such an array.
        ValueError: if a patch does not fit into it.
    """
    (patches,) = shifted_patches(image, patch_size, stride, shifts="none").values()
    rows, columns, height, width = patches.shape[:4]
    figure, axes = _panels(1, 2, panel_width=3.0, aspect=image.shape[0] / image.shape[1])
    _show(axes[0, 0], unit_image(image), f"{image.shape[0]} × {image.shape[1]} pixels")
    _show(
        axes[0, 1],
        _apart(patches),
        f"{rows} × {columns} patches of {height} × {width}",
    )
    return figure


def plot_shifted_views(image, patch_size, shifts="diagonal", shift_ratio=0.5, stride=None):
    """Draw an image and its shifted copies, each above its patches, as the layer stacks them.

    Args:
        image: `(height, width, 1 or 3)`, uint8 or floats in 0..1.
        patch_size: Side of a patch in pixels, or (height, width).
        shifts, shift_ratio, stride: As in `ShiftedPatchTokenization`.

    Returns:
        The figure: a column for each copy, titled with the direction in which its content moves.

    Raises:
        InputError: if `image` is not such an array.
        ValueError: if another argument is out of range, or a patch does not fit into `image`.

    Source: the figure of the Keras example `vit_small_ds`.
    """
    copies = shifted_patches(image, patch_size, stride, shifts, shift_ratio)
    step = as_pair(patch_size if stride is None else stride)
    figure, axes = _panels(2, len(copies), panel_width=1.9, aspect=image.shape[0] / image.shape[1])
    for (above, below), (direction, patches) in zip(axes.T, copies.items(), strict=True):
        _show(above, assemble(patches, step, background=1.0), direction)
        _show(below, _apart(patches))
    return figure


def shifted_patches(image, patch_size, stride=None, shifts="diagonal", shift_ratio=0.5):
    """Cut an image and its shifted copies into patches with `ShiftedPatchTokenization`.

    Args:
        image: `(height, width, 1 or 3)`, uint8 or floats in 0..1.
        patch_size, stride, shifts, shift_ratio: As in `ShiftedPatchTokenization`.

    Returns:
        For each direction ("original", "left-up", …, in the layer's order) its patches,
        `(rows, columns, patch_height, patch_width, channels)`, floats in 0..1.

    Raises:
        InputError: if `image` is not such an array.
        ValueError: if another argument is out of range, or a patch does not fit into `image`.
    """
    image = unit_image(image)
    layer = ShiftedPatchTokenization(
        patch_size=patch_size,
        projection_dim=1,
        shifts=shifts,
        shift_ratio=shift_ratio,
        patch_norm=False,
        stride=stride,
        dtype="float32",
    )
    patches = ops.convert_to_numpy(layer(image[np.newaxis])[1])[0]
    directions = ["original", *map(_direction, SHIFT_DIRECTIONS[shifts])]
    # The layer flattens a patch as (pixels row by row, copy, channel).
    shape = (*patches.shape[:2], *layer.patch_size, len(directions), image.shape[-1])
    patches = patches.reshape(shape)
    return {name: patches[..., copy, :] for copy, name in enumerate(directions)}


def assemble(patches, step, background=np.nan):
    """Place patches on a canvas, one every `step` pixels; later ones cover earlier ones.

    Args:
        patches: `(rows, columns, patch_height, patch_width, channels)`.
        step: (down, right). The stride restores the image; a larger step leaves gaps.
        background: Value or colour of the gaps.

    Returns:
        `(height, width, channels)`.
    """
    rows, columns, height, width, channels = patches.shape
    down, right = step
    shape = ((rows - 1) * down + height, (columns - 1) * right + width, channels)
    canvas = np.full(shape, background, "float32")
    for row, column in np.ndindex(rows, columns):
        top, left = row * down, column * right
        canvas[top : top + height, left : left + width] = patches[row, column]
    return canvas


def unit_image(image):
    """Return an image as float32 in 0..1.

    Args:
        image: `(height, width, 1 or 3)`, uint8 or floats in 0..1.

    Raises:
        InputError: if it is another array.
    """
    if image.ndim != 3 or image.shape[-1] not in (1, 3):
        raise InputError(
            "An image to draw is (height, width, channels) with 1 or 3 channels. "
            f"Received: shape {image.shape}."
        )
    unit = np.asarray(image, "float32") / (255 if image.dtype == np.uint8 else 1)
    if not (unit.min() >= 0 and unit.max() <= 1):
        raise InputError(
            "An image to draw is uint8 or holds floats in 0..1. "
            f"Received: {image.dtype} in {image.min()}..{image.max()}."
        )
    return unit


def _direction(step):
    """Name the direction of the content: a copy that reads further right shows it further left."""
    down, right = step
    return "-".join(_HORIZONTAL[right] + _VERTICAL[down])


def _apart(patches):
    """Place patches with thin gaps: white, or blue to stand out in a grey image."""
    times = math.ceil(6 / min(patches.shape[2:4]))
    enlarged = _rgb(patches).repeat(times, axis=2).repeat(times, axis=3)
    gap = round(min(enlarged.shape[2:4]) / 6)
    color = _BLUE if patches.shape[-1] == 1 else _WHITE
    return assemble(enlarged, [side + gap for side in enlarged.shape[2:4]], background=color)


def _rgb(image):
    return np.broadcast_to(image, (*image.shape[:-1], 3))


def _panels(rows, columns, panel_width, aspect):
    size = (columns * panel_width, rows * panel_width * aspect + 0.35)
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _show(axes, image, title=None):
    axes.imshow(_rgb(image), interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title, fontsize=10)
