"""What a dataset is: a training and a test split, and class names."""

import hashlib
from dataclasses import dataclass

from small_vit.data.split import Split
from small_vit.errors import InputError


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training and a test split, if it has one a validation split, and the names of the classes.

    Args:
        name: Name of the dataset in `DATASETS`.
        train: Training split.
        test: Test split, images of the same shape.
        class_names: Name of class 0, 1, …
        validation: Validation split, if the dataset has one of its own.

    Raises:
        InputError: if the image shapes differ, or a label has no class name.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    validation: Split | None = None

    def __post_init__(self):
        for part, split in self.splits.items():
            if split.image_shape != self.image_shape:
                raise InputError(
                    f"{self.name}: training and {part} images must have one shape. "
                    f"Received: {self.image_shape} and {split.image_shape}."
                )
            low, high = split.labels.min(), split.labels.max()
            if low < 0 or high >= self.num_classes:
                raise InputError(
                    f"{self.name}: {part} labels must be 0..{self.num_classes - 1}, one for each "
                    f"of {self.num_classes} class names. Received: {low}..{high}."
                )

    @property
    def splits(self):
        """The splits by name, in the order in which they are trained on and looked at."""
        splits = {"training": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in splits.items() if split is not None}

    @property
    def num_classes(self):
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self):
        """(height, width, channels) of every image."""
        return self.train.image_shape


def fingerprint(dataset):
    """Return a digest that changes with any pixel, label or shape of any split.

    Args:
        dataset: The dataset; its name and class names do not count.

    Returns:
        16 hexadecimal digits, the same on every machine.
    """
    digest = hashlib.sha256()
    for split in dataset.splits.values():
        split.update(digest)
    return digest.hexdigest()[:16]
