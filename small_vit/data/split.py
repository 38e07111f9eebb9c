"""A split: labels, and images that are read only when they are used."""

import copy
import hashlib
import math
import mmap

import numpy as np

from small_vit.errors import InputError

PART_BYTES = 64 * 2**20
"""Bytes of images to read at a time when going through a whole split."""


class Split:
    """Images and their labels; the images are in memory or in a memory-mapped file.

    Images are read only when they are used, so a split may be larger than the memory.

    Args:
        images: uint8 `(examples, height, width, channels)`, an array or a memory map of one.
        labels: int32 `(examples,)`, each the index of a class name.

    Attributes:
        labels: int32 `(examples,)`, in memory.
        image_shape: `(height, width, channels)` of every image.

    Raises:
        InputError: if a shape or type differs, the split is empty, or the counts disagree.
    """

    def __init__(self, images, labels):
        if images.dtype != np.uint8 or images.ndim != 4:
            raise InputError(
                "images must be uint8 of shape (examples, height, width, channels). "
                f"Received: {images.dtype} {images.shape}."
            )
        if labels.dtype != np.int32 or labels.ndim != 1:
            raise InputError(
                f"labels must be int32 of shape (examples,). "
                f"Received: {labels.dtype} {labels.shape}."
            )
        if len(images) != len(labels):
            raise InputError(
                "Every image needs one label. "
                f"Received: {len(images)} images and {len(labels)} labels."
            )
        if images.size == 0:
            raise InputError(
                f"A split needs at least one image of one pixel. Received: shape {images.shape}."
            )
        self._images = images
        self._mapping = _mapping_of(images)
        self._rows = np.arange(len(labels))
        self.labels = labels
        self.image_shape = tuple(images.shape[1:])

    def __len__(self):
        return len(self.labels)

    @property
    def nbytes(self):
        """Bytes of all images."""
        return len(self) * math.prod(self.image_shape)

    def read(self, rows):
        """Return the images of `rows`, uint8 `(rows, height, width, channels)`.

        Args:
            rows: Positions in this split, an array or list of ints, or a slice.
        """
        images = np.ascontiguousarray(self._images[self._rows[rows]])
        if self._mapping is not None:
            # Release the pages, which would otherwise count as this process's memory until it ends.
            self._mapping.madvise(mmap.MADV_DONTNEED)
        return images

    def parts(self, part_bytes=PART_BYTES, multiple=1):
        """Yield all images in order, part by part.

        Args:
            part_bytes: Size of a part; it holds at least `multiple` images.
            multiple: The number of images in a part is a multiple of this, except in the last.
        """
        multiple_bytes = multiple * math.prod(self.image_shape)
        step = max(1, part_bytes // multiple_bytes) * multiple
        for first in range(0, len(self), step):
            yield self.read(slice(first, first + step))

    def subset(self, rows):
        """Return the examples of `rows` as a split; no image is read or copied.

        Args:
            rows: As for `read`.

        Raises:
            InputError: if there are none.
        """
        if not len(self._rows[rows]):
            raise InputError(f"A split needs at least one image. Received: rows={rows!r}.")
        subset = copy.copy(self)
        subset._rows = self._rows[rows]
        subset.labels = self.labels[rows]
        return subset

    def fingerprint(self):
        """Return 16 hexadecimal digits that change with any pixel, label or shape."""
        digest = hashlib.sha256()
        self.update(digest)
        return digest.hexdigest()[:16]

    def update(self, digest):
        """Feed shape, images and labels to a `hashlib` digest."""
        digest.update(repr((len(self), *self.image_shape)).encode())
        for images in self.parts():
            digest.update(images)
        # With a fixed byte order, so that the digest is the same on every machine.
        digest.update(self.labels.astype("<i4"))


def _mapping_of(images):
    """The `mmap.mmap` that an array reads from; None if its pages cannot be released."""
    if not (isinstance(images, np.memmap) and hasattr(mmap, "MADV_DONTNEED")):
        return None
    base = images.base
    while isinstance(base, np.ndarray):
        base = base.base
    # In mode "c", releasing pages would lose changes.
    return base if isinstance(base, mmap.mmap) and images.mode in ("r", "r+") else None
