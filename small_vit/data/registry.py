"""The datasets by name."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from small_vit.data.cifar import CIFAR10, CIFAR100, CIFAR100_COARSE, load_cifar
from small_vit.data.dataset import Dataset
from small_vit.data.digits import load_digits
from small_vit.data.fashion_mnist import load_fashion_mnist
from small_vit.errors import InputError
from small_vit.sizes import as_pair


@dataclass(frozen=True)
class Registered:
    """A dataset that can be loaded by name, with facts that need no loading.

    Attributes:
        load: Loader; takes the folder of the published files, or None.
        training_images: Number of published training images.
        image_shape: (height, width, channels) of an image.
        num_classes: Number of classes.
    """

    load: Callable[[Path | None], Dataset]
    training_images: int
    image_shape: tuple[int, int, int]
    num_classes: int


DATASETS: dict[str, Registered] = {
    "cifar100": Registered(partial(load_cifar, CIFAR100), 50_000, (32, 32, 3), 100),
    "cifar100-coarse": Registered(partial(load_cifar, CIFAR100_COARSE), 50_000, (32, 32, 3), 20),
    "cifar10": Registered(partial(load_cifar, CIFAR10), 50_000, (32, 32, 3), 10),
    "fashion_mnist": Registered(load_fashion_mnist, 60_000, (28, 28, 1), 10),
    "digits": Registered(load_digits, 1_437, (8, 8, 1), 10),
}
"""The datasets by name."""


def load_dataset(name, data_dir=None):
    """Load a dataset by name, from a folder of its published files or from Keras's download cache.

    Args:
        name: One of `DATASETS`.
        data_dir: Where the published files are (see the loader of the dataset). Default: Keras's
            download cache; files that are missing there are downloaded. `digits` needs no files.

    Returns:
        The dataset, every image and label checked.

    Raises:
        InputError: if there is no such dataset, its files are missing, damaged or not the published
            ones, or they cannot be downloaded.
    """
    if name not in DATASETS:
        raise InputError(f"dataset must be one of {', '.join(DATASETS)}. Received: {name!r}.")
    return DATASETS[name].load(None if data_dir is None else Path(data_dir).expanduser())


def load_data(data, image_size):
    """Load the dataset of an experiment: one of `DATASETS`, or a folder of images.

    Args:
        data: `DataConfig`.
        image_size: Size to which the images of a folder are decoded, an int or (height, width).

    Returns:
        The dataset, every image and label checked.

    Raises:
        InputError: if it cannot be loaded.
    """
    if data.dataset == "folder":
        from small_vit.data.folder.load import load_folder

        return load_folder(data, image_size)
    return load_dataset(data.dataset, data.data_dir)


def count_training_images(data):
    """Return the number of images that are trained on in one pass, without loading them.

    Args:
        data: `DataConfig`. Its `train_examples` do not count.
    """
    held_out = data.validation_split not in ("none", "test")
    if data.dataset != "folder":
        images = DATASETS[data.dataset].training_images
        return math.floor(images * (1.0 - data.validation_fraction)) if held_out else images
    from small_vit.data.folder.listing import list_images

    parts = [file.part for file in list_images(data.data_dir).files]
    images = len(parts) - parts.count("test") - held_out * parts.count("validation")
    left = 1.0
    if "test" not in parts:
        left -= data.test_fraction
    if held_out and "validation" not in parts:
        left -= data.validation_fraction
    return round(images * left)


def image_shape_and_classes(data, image_size):
    """Return `(image_shape, num_classes)` of a dataset without loading it.

    A folder of images is taken to be in colour.

    Args:
        data: `DataConfig`.
        image_size: As for `load_data`.
    """
    if data.dataset != "folder":
        known = DATASETS[data.dataset]
        return known.image_shape, known.num_classes
    from small_vit.data.folder.listing import list_images

    return (*as_pair(image_size), 3), len(list_images(data.data_dir).class_names)
