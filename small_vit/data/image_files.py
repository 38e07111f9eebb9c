"""Reads and resizes image files."""

import numpy as np
from PIL import Image, ImageOps

from small_vit.errors import InputError


def read_image(path, size, channels=3):
    """Read an image file, crop its centre to the proportions of `size`, and scale it to `size`.

    Args:
        path: The file, in any format that Pillow reads. 16-bit levels are scaled to 8 bits;
            transparent pixels are put on white.
        size: (height, width).
        channels: 3, or 1 for grey levels.

    Returns:
        uint8 `(height, width, channels)`.

    Raises:
        InputError: if the file is missing, damaged or not an image, or if the range of its levels
            is not known.
    """
    try:
        with Image.open(path) as image:
            opaque = _on_white(_with_8_bits(ImageOps.exif_transpose(image)))
            return fit_image(opaque.convert("L" if channels == 1 else "RGB"), size)
    # Pillow raises errors of many types for a damaged file, for a PNG a SyntaxError.
    except Exception as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"Cannot read {path} as an image: {reason}.") from error


def _with_8_bits(image):
    """Scale 16-bit levels to 8 bits; Pillow's own `convert` would clip them at 255."""
    if image.mode == "F":
        raise ValueError(
            "its levels are floating-point numbers of unknown range; save it with 8 or "
            "16 bits per level"
        )
    if not image.mode.startswith("I"):  # I;16 and its byte orders; I holds 16 bits in 32
        return image
    levels = np.asarray(image)
    if levels.min() < 0 or levels.max() > 65535:
        raise ValueError(
            f"its levels go from {levels.min()} to {levels.max()}, beyond the 0 to 65535 of 16 "
            "bits; save it with 8 or 16 bits per level"
        )
    return Image.fromarray(np.round(levels / 257).astype("uint8"))


def _on_white(image):
    if not image.has_transparency_data:
        return image
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA"))


def fit_image(image, size):
    """Crop the centre of a Pillow image to the proportions of `size`, and scale it to `size`.

    Args:
        image: `PIL.Image.Image` of mode L or RGB.
        size: (height, width).

    Returns:
        uint8 `(height, width, 1 or 3)`.
    """
    fitted = np.asarray(ImageOps.fit(image, size[::-1], Image.Resampling.BILINEAR))
    return np.atleast_3d(fitted)


def scale_image(image, size):
    """Scale an image as a model's `small_vit.Resize` does, and round to bytes.

    It is bilinear, antialiased if a side shrinks, and does not keep the proportions.

    Args:
        image: uint8 `(height, width, 1 or 3)`.
        size: (height, width).

    Returns:
        uint8 `(height, width, 1 or 3)`.
    """
    flat = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return np.atleast_3d(flat.resize(size[::-1], Image.Resampling.BILINEAR))
