"""Reads pixels by position, and finds the pixels in a box, separately for each image."""

from keras import ops


def take_each(values, positions):
    """Return the values at positions given for each image of the batch.

    Nothing is read across images, so devices that share a batch need no communication.

    Args:
        values: `(batch, length, …)`.
        positions: int32 `(batch, …)`, 0 to below `length`.

    Returns:
        The shape of `positions`, followed by the axes of `values` after `length`.
    """
    return ops.vectorized_map(lambda image: ops.take(*image, axis=0), (values, positions))


def take_pixels(images, rows, columns):
    """Return pixels at rows and columns given for each image and each pixel of the output.

    Args:
        images: `(batch, height, width, channels)`.
        rows, columns: int32, broadcastable to `(batch, out_height, out_width)`; inside the image.

    Returns:
        `(batch, out_height, out_width, channels)`.
    """
    height, width, channels = images.shape[1:]
    pixels = ops.reshape(images, (-1, height * width, channels))
    return take_each(pixels, rows * width + columns)


def inside_boxes(image_size, top, bottom, left, right):
    """Return which pixels are inside a box, in each image.

    Args:
        image_size: (height, width).
        top, left: `(batch,)`, the first row and column inside.
        bottom, right: `(batch,)`, the first row and column beyond.

    Returns:
        Booleans, `(batch, height, width, 1)`.
    """
    rows, columns = (ops.arange(side, dtype="float32") for side in image_size)
    top, bottom, left, right = (ops.expand_dims(edge, -1) for edge in (top, bottom, left, right))
    in_rows = ops.logical_and(rows >= top, rows < bottom)  # (batch, height)
    in_columns = ops.logical_and(columns >= left, columns < right)  # (batch, width)
    return ops.logical_and(in_rows[:, :, None, None], in_columns[:, None, :, None])
