"""Sizes in pixels: an int, or a pair of height and width."""

import operator

from small_vit.errors import InputError

Size = int | tuple[int, int]


def as_pair(size, name="A size"):
    """Return `size` as `(height, width)`; an int stands for both.

    Args:
        size: An int or a pair.
        name: What it is, for the message.

    Raises:
        InputError: if `size` is not a positive int or a pair of them.
    """
    pair = tuple(size) if isinstance(size, tuple | list) else (size, size)
    try:
        # NumPy's integers are allowed, True is not.
        height, width = (operator.index(side) if side is not True else 0 for side in pair)
    except (TypeError, ValueError):
        height = width = 0
    if height < 1 or width < 1:
        raise InputError(
            f"{name} must be a positive int or a (height, width) of two. Received: {size!r}."
        )
    return height, width


def whole_shift(patch_size, shift_ratio):
    """Return how far SPT shifts, `(down, right)` in pixels, rounded down as in the references."""
    # Rounding errors: 100 * 0.29 is 28.999999999999996.
    return tuple(int(side * shift_ratio + 1e-9) for side in as_pair(patch_size))
