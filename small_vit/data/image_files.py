"""Reads and resizes image files."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from small_vit.errors import InputError


def read_image(path, size, channels=3, fit="crop"):
    """Read an image file and fit it to `size`.

    Args:
        path: The file, in any format that Pillow reads. 16-bit levels are scaled to 8 bits;
            transparent pixels are put on white; of an animation the first frame is read.
        size: (height, width).
        channels: 3, or 1 for grey levels.
        fit: As for `fit_image`.

    Returns:
        uint8 `(height, width, channels)`.

    Raises:
        InputError: if the file is missing, damaged or not an image, or if the range of its levels
            is not known.
    """
    try:
        return fit_image(decode_image(Path(path).read_bytes(), size, channels), size, fit)
    # Pillow raises errors of many types for a damaged file, for a PNG a SyntaxError.
    except Exception as error:
        reason = why_unreadable(path, error)
        raise InputError(f"Cannot read {path} as an image: {reason}.") from error


def decode_image(content, size, channels):
    """Decode the whole picture of an image file, upright and opaque.

    A JPEG is decoded at a half, a quarter or an eighth of its size where both sides still are
    twice those of `size` and 128 pixels, enough for the fitted image and for a perceptual hash.

    Args:
        content: The file's bytes.
        size: (height, width) to which the picture will be fitted.
        channels: 3, or 1 for grey levels.

    Returns:
        `PIL.Image.Image` of mode RGB or L.

    Raises:
        Exception: of many types, if Pillow cannot decode it. `why_unreadable` words it.
    """
    mode = "L" if channels == 1 else "RGB"
    with Image.open(io.BytesIO(content)) as image:
        # Square: the sides are exchanged if the picture is yet to be turned upright.
        enough = max(128, 2 * max(size))
        image.draft(None, (enough, enough))
        ImageOps.exif_transpose(image, in_place=True)
        opaque = _on_white(_with_8_bits(image))
        return opaque if opaque.mode == mode else opaque.convert(mode)


def is_grey(path):
    """Return whether the header of an image file says that it holds grey levels only.

    Args:
        path: The file.

    Raises:
        Exception: as `decode_image`.
    """
    with Image.open(path) as image:
        return image.mode in ("1", "L", "LA") or image.mode.startswith("I")


def why_unreadable(path, error):
    """Return the reason why an image file cannot be read, without a full stop.

    Args:
        path: The file.
        error: Exception that reading or decoding it has raised.
    """
    if isinstance(error, FileNotFoundError) and Path(path).is_symlink():
        return "it is a link to a file that does not exist"
    if isinstance(error, UnidentifiedImageError):
        return "it is empty" if Path(path).stat().st_size == 0 else "it is no image"
    if isinstance(error, Image.DecompressionBombError):
        return (
            f"it has more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels, Pillow's limit against "
            "decompression bombs; save it smaller"
        )
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


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


def fit_image(image, size, fit="crop"):
    """Scale a Pillow image to `size`.

    Args:
        image: `PIL.Image.Image` of mode L or RGB.
        size: (height, width).
        fit: "crop": crop the centre to the proportions of `size`. "squash": change the proportions.
            "pad": keep the whole image and its proportions, between black borders.

    Returns:
        uint8 `(height, width, 1 or 3)`.
    """
    functions = {"crop": ImageOps.fit, "squash": Image.Image.resize, "pad": ImageOps.pad}
    return np.atleast_3d(functions[fit](image, size[::-1], Image.Resampling.BILINEAR))


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
