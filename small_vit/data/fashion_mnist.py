"""Fashion-MNIST, from its published idx files."""

import gzip
import math
import zlib

import numpy as np

from small_vit.data.dataset import Dataset
from small_vit.data.download import download
from small_vit.data.split import Split
from small_vit.errors import InputError

URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"


FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def load_fashion_mnist(data_dir=None):
    """Load Fashion-MNIST: 60,000 + 10,000 grey images of clothes, 28x28 pixels, 10 classes.

    Args:
        data_dir: Folder that holds the four published files, `train-images-idx3-ubyte.gz` and so
            on. Default: Keras's download cache.

    Returns:
        The dataset, images (28, 28, 1).

    Raises:
        InputError: if a file is missing, damaged or not the published one, or cannot be
            downloaded.

    Source: H. Xiao, K. Rasul, R. Vollgraf, arXiv 1708.07747.
    """
    holds = f"a folder that holds {', '.join(FILES)} (from {URL})"
    if data_dir is None:
        cache = "datasets/fashion-mnist"
        paths = [download("fashion_mnist", URL + name, name, holds, cache) for name in FILES]
    else:
        paths = [data_dir / name for name in FILES]
        missing = [path.name for path in paths if not path.is_file()]
        if missing:
            raise InputError(
                f"--data-dir must be {holds}. Received: {data_dir}, which lacks "
                f"{', '.join(missing)}."
            )
    train, test = _read_split(*paths[:2]), _read_split(*paths[2:])
    return Dataset("fashion_mnist", train, test, CLASS_NAMES)


def _read_split(images_path, labels_path):
    images = _read_idx(images_path, dimensions=3)
    if images.shape[1:] != (28, 28):
        raise InputError(
            f"{images_path} must hold images of 28x28 pixels. Received: {images.shape[1:]}. "
            f"Download it again: {URL}."
        )
    labels = _read_idx(labels_path, dimensions=1).astype(np.int32)
    try:
        return Split(images[..., np.newaxis], labels)
    except InputError as error:
        raise InputError(f"{images_path} and {labels_path.name}: {error}") from error


def _read_idx(path, dimensions):
    """Read an idx file of bytes: 0, 0, 8, dimensions; the big-endian sizes; the values."""
    try:
        with gzip.open(path) as stream:
            # A bytearray, so that the array is writable.
            content = bytearray(stream.read())
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}. Download it again: {URL}.") from error
    header = 4 + 4 * dimensions
    if content[:4] != bytes((0, 0, 8, dimensions)) or len(content) < header:
        raise InputError(
            f"{path} must be an idx file of bytes in {dimensions} dimensions. Received: a file "
            f"that starts with {bytes(content[:4])!r}. Download it again: {URL}."
        )
    sizes = [int(size) for size in np.frombuffer(content, ">u4", dimensions, offset=4)]
    values = np.frombuffer(content, np.uint8, offset=header)
    if len(values) != math.prod(sizes):
        raise InputError(
            f"{path} must hold {' x '.join(map(str, sizes))} values, as its header says. "
            f"Received: {len(values)}. Download it again: {URL}."
        )
    return values.reshape(sizes)
