"""What a dataset is: a training and a test split, and class names."""

import hashlib
from dataclasses import dataclass

from small_vit.data.split import Split
from small_vit.errors import InputError


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training and a test split with the names of their classes, checked when made.

    Args:
        name: Name of the dataset in `DATASETS`.
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
        shapes = self.train.image_shape, self.test.image_shape
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
    def num_classes(self):
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self):
        """(height, width, channels) of every image."""
        return self.train.image_shape


def fingerprint(dataset):
    """Return a digest that changes with any pixel, label or shape of either split.

    Args:
        dataset: The dataset; its name and class names do not count.

    Returns:
        16 hexadecimal digits, the same on every machine.
    """
    digest = hashlib.sha256()
    for split in (dataset.train, dataset.test):
        split.update(digest)
    return digest.hexdigest()[:16]
