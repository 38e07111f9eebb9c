"""The datasets by name."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from small_vit.datasets.cifar import CIFAR10, CIFAR100, CIFAR100_COARSE, load_cifar
from small_vit.datasets.dataset import Dataset
from small_vit.datasets.digits import load_digits
from small_vit.datasets.fashion_mnist import load_fashion_mnist
from small_vit.errors import InputError

DATASETS: dict[str, Callable[[Path | None], Dataset]] = {
    "cifar100": partial(load_cifar, CIFAR100),
    "cifar100-coarse": partial(load_cifar, CIFAR100_COARSE),
    "cifar10": partial(load_cifar, CIFAR10),
    "fashion_mnist": load_fashion_mnist,
    "digits": load_digits,
}
"""The loader of each dataset, by name."""


def load(name: str, data_dir: str | Path | None = None) -> Dataset:
    """Load a dataset by name, from a folder of its published files or from Keras's download cache.

    Args:
        name: One of `DATASETS`.
        data_dir: Where the published files are (see the loader of the dataset). Default: Keras's
            download cache, filled over the network when it is empty; `digits` needs neither.

    Returns:
        The dataset, every image and label checked.

    Raises:
        InputError: if there is no such dataset, its files are missing, damaged or not the published
            ones, or they cannot be downloaded.
    """
    if name not in DATASETS:
        raise InputError(f"dataset must be one of {', '.join(DATASETS)}. Received: {name!r}.")
    return DATASETS[name](None if data_dir is None else Path(data_dir).expanduser())
