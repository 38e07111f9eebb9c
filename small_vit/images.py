"""Image files, as models and pictures take them."""

import numpy as np
from PIL import Image, ImageOps

from small_vit.errors import InputError


def read_image(path, size, channels=3) -> np.ndarray:
    """Read an image file, cut its middle out in the shape of `size` and scale it to that.

    Args:
        path: The file, in any format that Pillow reads.
        size: (height, width).
        channels: 3, or 1 for grey levels.

    Returns:
        uint8 `(height, width, channels)`.

    Raises:
        InputError: if the file is missing or no image.
    """
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            return fit_image(upright.convert("L" if channels == 1 else "RGB"), size)
    except (OSError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"Cannot read {path} as an image: {reason}.") from error


def fit_image(image, size) -> np.ndarray:
    """Cut the middle out of a Pillow image in the shape of `size` and scale it to that.

    Args:
        image: `PIL.Image.Image` of mode L or RGB.
        size: (height, width).

    Returns:
        uint8 `(height, width, 1 or 3)`.
    """
    fitted = np.asarray(ImageOps.fit(image, size[::-1], Image.Resampling.BILINEAR))
    return np.atleast_3d(fitted)


def scale_image(image, size) -> np.ndarray:
    """Scale an image as a model's first layer does: bilinear, without keeping its proportions.

    Args:
        image: uint8 `(height, width, 1 or 3)`.
        size: (height, width).

    Returns:
        uint8 `(height, width, 1 or 3)`.
    """
    flat = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return np.atleast_3d(flat.resize(size[::-1], Image.Resampling.BILINEAR))
