"""CIFAR-10 and CIFAR-100, from their published files."""

import gzip
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from small_vit.data.cifar_pickle import entry, pixel_rows, read_pickle
from small_vit.data.dataset import Dataset
from small_vit.data.download import download
from small_vit.data.split import Split
from small_vit.errors import InputError

SIDE, CHANNELS = 32, 3


@dataclass(frozen=True)
class Publication:
    """The published files of a CIFAR dataset."""

    url: str
    """Where the archive is."""
    sha256: str
    """Digest of the archive, the one that Keras's own loader checks."""
    cache_name: str
    """Name of the archive in the cache of Keras's own loader, so that both share a download."""
    folder: str
    """Folder in the archive."""
    train: tuple[str, ...]
    """Files of the training images, in order."""
    test: str
    """File of the test images."""
    meta: str
    """File of the class names."""

    @property
    def archive(self):
        """File name of the archive."""
        return self.url.rpartition("/")[2]

    @property
    def files(self):
        """All files that are read."""
        return (*self.train, self.test, self.meta)


CIFAR100_FILES = Publication(
    url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    cache_name="cifar-100-python-target_archive",
    folder="cifar-100-python",
    train=("train",),
    test="test",
    meta="meta",
)


CIFAR10_FILES = Publication(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    cache_name="cifar-10-batches-py-target_archive",
    folder="cifar-10-batches-py",
    train=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test="test_batch",
    meta="batches.meta",
)


@dataclass(frozen=True)
class Cifar:
    """A CIFAR dataset: its files and which labels to read."""

    name: str
    """Name of the dataset."""
    published: Publication
    """Its published files."""
    labels_key: str
    """Entry of a batch that holds the labels."""
    names_key: str
    """Entry of the meta file that holds the class names."""
    num_classes: int
    """Number of classes."""


CIFAR100 = Cifar("cifar100", CIFAR100_FILES, "fine_labels", "fine_label_names", 100)


CIFAR100_COARSE = Cifar(
    "cifar100-coarse", CIFAR100_FILES, "coarse_labels", "coarse_label_names", 20
)


CIFAR10 = Cifar("cifar10", CIFAR10_FILES, "labels", "label_names", 10)


def load_cifar(which, data_dir=None):
    """Load CIFAR-10 or CIFAR-100: 50,000 + 10,000 colour images of 32x32 pixels.

    The pickles are read without running any code in them. An archive is read directly: nothing is
    unpacked to disk.

    Args:
        which: `CIFAR10`, `CIFAR100` (100 fine classes) or `CIFAR100_COARSE` (its 20 superclasses).
        data_dir: A folder that holds the published folder (`cifar-100-python/` or
            `cifar-10-batches-py/`) or archive (`cifar-100-python.tar.gz` or
            `cifar-10-python.tar.gz`), or the path of one of these. Default: the archive in Keras's
            download cache.

    Returns:
        The dataset, images (32, 32, 3).

    Raises:
        InputError: if the files are missing, damaged or not the published ones, or cannot be
            downloaded.

    Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    """
    published = which.published
    if data_dir is None:
        holds = _holds(published)
        data_dir = download(
            which.name, published.url, published.cache_name, holds, sha256=published.sha256
        )
    batches = {}
    for name, source, stream in _open_files(_locate(data_dir, published), published):
        content = read_pickle(stream, source)
        try:
            if name == published.meta:
                class_names = _class_names(which, content, source)
            else:
                batches[name] = _batch(which, content, source)
        except InputError as error:
            raise InputError(f"{error} Download it again from {published.url}.") from error
    train = _join([batches.pop(name) for name in published.train])
    return Dataset(which.name, train, _join([batches.pop(published.test)]), class_names)


def _holds(published):
    return f"a folder that holds {published.folder}/ or {published.archive} (from {published.url})"


def _locate(path, published):
    """Find the published folder or archive in, or at, `path`."""
    if not path.exists():
        raise InputError(f"--data-dir must be {_holds(published)}. There is no {path}.")
    for inside in (path / published.folder, path / published.archive):
        if inside.exists():
            return inside
    if path.is_file() or any((path / name).is_file() for name in published.files):
        return path
    raise InputError(
        f"--data-dir must be {_holds(published)}. Received: {path}, which has neither."
    )


def _open_files(path, published):
    """Yield (name, name for messages, stream) for each file of a folder or archive."""
    if path.is_file():
        yield from _open_members(path, published)
        return
    for name in published.files:
        try:
            stream = (path / name).open("rb")
        except OSError as error:
            raise InputError(
                f"{path} must hold {', '.join(published.files)}. Received: {error}."
            ) from error
        with stream:
            yield name, str(path / name), stream


def _open_members(path, published):
    """Yield the files in their order in the archive, so that it is decompressed only once."""
    missing = {str(PurePosixPath(published.folder, name)): name for name in published.files}
    try:
        with gzip.open(path) as plain, tarfile.open(fileobj=plain, mode="r:") as archive:
            for member in archive:
                path_inside = str(PurePosixPath(member.name))
                if member.isreg() and path_inside in missing:
                    name = missing.pop(path_inside)
                    yield name, f"{path}: {member.name}", archive.extractfile(member)
            # Read to the end, where gzip has its checksum.
            while plain.read(2**20):
                pass
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise InputError(
            f"{path} cannot be read as {published.archive}: {error}. It is incomplete or another "
            f"file: download it again from {published.url}."
        ) from error
    if missing:
        raise InputError(
            f"{path} must hold all of {published.archive}. It lacks "
            f"{', '.join(missing.values())}: download it again from {published.url}."
        )


def _class_names(which, content, source):
    names = entry(content, which.names_key, source)
    if not isinstance(names, list) or not all(isinstance(name, bytes | str) for name in names):
        raise InputError(f"{source}: {which.names_key} must be a list of names.")
    if len(names) != which.num_classes:
        raise InputError(
            f"{source}: {which.names_key} must be {which.num_classes} names. Received: "
            f"{len(names)}."
        )
    return tuple(
        name.decode(errors="replace") if isinstance(name, bytes) else name for name in names
    )


def _batch(which, content, source):
    """Return the pixels (examples, channels, height, width) and int32 labels of a file."""
    rows = pixel_rows(entry(content, "data", source), CHANNELS * SIDE * SIDE, source)
    labels = entry(content, which.labels_key, source)
    if not isinstance(labels, list) or len(labels) != len(rows):
        received = len(labels) if isinstance(labels, list) else type(labels).__name__
        raise InputError(
            f"{source}: {which.labels_key} must be a list of {len(rows)} labels, one per image. "
            f"Received: {received}."
        )
    for label in labels:
        if type(label) is not int or not 0 <= label < which.num_classes:
            raise InputError(
                f"{source}: {which.labels_key} must be whole numbers 0..{which.num_classes - 1}. "
                f"Received: {label!r}."
            )
    if not labels:
        raise InputError(f"{source} must hold images. Received: none.")
    return rows.reshape(-1, CHANNELS, SIDE, SIDE), np.array(labels, np.int32)


def _join(batches):
    planes, labels = zip(*batches, strict=True)
    labels = np.concatenate(labels)
    # With `out`: otherwise concatenate would keep the memory layout of the planes.
    images = np.empty((len(labels), SIDE, SIDE, CHANNELS), np.uint8)
    np.concatenate([plane.transpose(0, 2, 3, 1) for plane in planes], out=images)
    return Split(images, labels)
