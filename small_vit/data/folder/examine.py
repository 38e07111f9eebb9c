"""What one image file holds: its pixels at the wanted size, a digest and a perceptual hash."""

import hashlib
import os
from dataclasses import dataclass

import numpy as np
from PIL import Image

from small_vit.data.image_files import decode_image, fit_image, why_unreadable


@dataclass(frozen=True)
class Facts:
    """What is remembered of an image file.

    Attributes:
        path: Its path, as in the listing.
        stamp: (bytes, nanoseconds of its last change); None if there is no such file.
        content: Digest of its bytes; None if they cannot be read.
        digest: Digest of the pixels of the whole picture; None if it cannot be decoded.
        hash: 64-bit perceptual hash of the picture, an int; None if it cannot be decoded.
        reason: Why it cannot be read, without a full stop; None if it can.
    """

    path: str
    stamp: tuple[int, int] | None
    content: str | None = None
    digest: str | None = None
    hash: int | None = None
    reason: str | None = None


def stamp_of(path):
    """Return what changes when a file is written: (bytes, nanoseconds); None if there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: the path holds what no path can.
        return None
    return status.st_size, status.st_mtime_ns


def examine(root, path, size, channels, fit, known):
    """Read an image file and decode it, unless its content is known.

    Args:
        root: Folder that `path` is relative to.
        path: The file.
        size: (height, width).
        channels: 1 or 3.
        fit: As for `fit_image`.
        known: Function from a content digest to the (facts, pixels) of a file with this content,
            or None.

    Returns:
        `(facts, pixels)`: `Facts`, and uint8 `(height, width, channels)`, or None if the file
        cannot be read.
    """
    # Not pathlib: for small files it takes longer than reading them.
    file = os.path.join(root, path)
    stamp, content = stamp_of(file), None
    try:
        with open(file, "rb", buffering=0) as stream:
            data = stream.read()
        content = _digest(data)
        if (found := known(content)) is not None:
            facts, pixels = found
            return Facts(path, stamp, content, facts.digest, facts.hash), pixels
        image = decode_image(data, size, channels)
        digest = _digest(image.tobytes(), str(image.size).encode())
        facts = Facts(path, stamp, content, digest, perceptual_hash(image))
        return facts, fit_image(image, size, fit)
    # Pillow raises errors of many types for a damaged file.
    except Exception as error:
        return Facts(path, stamp, content, reason=why_unreadable(file, error)), None


def _digest(*parts):
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:32]


def perceptual_hash(image):
    """Return the 64 bits of ImageHash's `phash` as an int.

    Args:
        image: `PIL.Image.Image` of mode L or RGB.
    """
    import imagehash

    # The size that ImageHash itself would shrink it to, with a filter that takes longer.
    small = image.convert("L").resize((32, 32), Image.Resampling.BILINEAR, reducing_gap=2)
    return int.from_bytes(np.packbits(imagehash.phash(small).hash).tobytes(), "big")
