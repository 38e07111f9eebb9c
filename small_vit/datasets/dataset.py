"""What a dataset is: two checked splits of uint8 images with their labels, and class names."""

import hashlib
from dataclasses import dataclass

import numpy as np

from small_vit.errors import InputError


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels, checked when made.

    Args:
        images: uint8, (examples, height, width, channels), 0..255.
        labels: int32, (examples,), each the index of a class name.

    Raises:
        InputError: if a shape or type differs, the split is empty, or the counts disagree.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        images, labels = self.images, self.labels
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

    def __len__(self):
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training and a test split with the names of their classes, checked when made.

    Args:
        name: Name it is loaded by.
        train: Training split.
        test: Test split, images of the same shape.
        class_names: Name of class 0, 1, …

    Raises:
        InputError: if the image shapes differ, or a label has no class name.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]

    def __post_init__(self):
        shapes = self.train.images.shape[1:], self.test.images.shape[1:]
        if shapes[0] != shapes[1]:
            raise InputError(
                f"{self.name}: training and test images must have one shape. "
                f"Received: {shapes[0]} and {shapes[1]}."
            )
        for part, split in (("training", self.train), ("test", self.test)):
            low, high = split.labels.min(), split.labels.max()
            if low < 0 or high >= self.num_classes:
                raise InputError(
                    f"{self.name}: {part} labels must be 0..{self.num_classes - 1}, one for each "
                    f"of {self.num_classes} class names. Received: {low}..{high}."
                )

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every image."""
        return self.train.images.shape[1:]


def fingerprint(dataset: Dataset) -> str:
    """Return a digest that changes with any pixel, label or shape of either split.

    Args:
        dataset: The dataset; its name and class names do not count.

    Returns:
        16 hexadecimal digits, the same on every machine.
    """
    digest = hashlib.sha256()
    for split in (dataset.train, dataset.test):
        digest.update(repr(split.images.shape).encode())
        digest.update(np.ascontiguousarray(split.images))
        # The byte order is fixed, or machines would disagree.
        digest.update(split.labels.astype("<i4"))
    return digest.hexdigest()[:16]
