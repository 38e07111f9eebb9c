"""What image files hold: their pixels at the wanted size, digests and perceptual hashes."""

import hashlib
import os
import warnings
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
        digest: Digest of its size, its pixels at the wanted size, and a thumbnail of the whole
            picture; None if it cannot be decoded.
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


def examine(root, paths, size, channels, fit):
    """Read image files and decode them.

    Args:
        root: Folder that the paths are relative to.
        paths: The files.
        size: (height, width).
        channels: 1 or 3.
        fit: As for `fit_image`.

    Returns:
        List of `(facts, pixels, thumbnail)`: `Facts` without a hash; uint8
        `(height, width, channels)`; and the uint8 `(32, 32)` for the hash. The last two are None if
        the file cannot be read.
    """
    # A file that cannot be read whole raises an error; Pillow's warnings say no more.
    with warnings.catch_warnings(action="ignore"):
        return [_examine_one(root, path, size, channels, fit) for path in paths]


def content_of(path):
    """Return the digest of a file's bytes; None if they cannot be read."""
    try:
        return _digest(_bytes_of(path))
    except (OSError, ValueError):
        return None


def _examine_one(root, path, size, channels, fit):
    # Not pathlib: for small files it takes longer than reading them.
    file = os.path.join(root, path)
    stamp, content = stamp_of(file), None
    try:
        data = _bytes_of(file)
        content = _digest(data)
        image = decode_image(data, size, channels)
        pixels, thumbnail = fit_image(image, size, fit), _thumbnail(image)
        digest = _digest(str(image.size).encode(), np.ascontiguousarray(pixels), thumbnail)
        return Facts(path, stamp, content, digest), pixels, thumbnail
    # Pillow raises errors of many types for a damaged file.
    except Exception as error:
        return Facts(path, stamp, content, reason=why_unreadable(file, error)), None, None


def _bytes_of(path):
    with open(path, "rb", buffering=0) as stream:
        return stream.read()


def _digest(*parts):
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:32]


def _thumbnail(image):
    """Shrink a picture to the 32 x 32 grey levels that a perceptual hash is made from."""
    return np.array(image.convert("L").resize((32, 32), Image.Resampling.BILINEAR, reducing_gap=2))
