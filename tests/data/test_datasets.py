"""The datasets: pixels and labels as published, every wrong input named, splits that add up."""

import gzip
import hashlib
import io
import math
import os
import pickle
import struct
import tarfile
from pathlib import Path

import keras
import numpy as np
import pytest

from small_vit.data import (
    DATASETS,
    Dataset,
    Split,
    fingerprint,
    hold_out,
    load_dataset,
    take_balanced,
)
from small_vit.errors import InputError

pytestmark = pytest.mark.any_backend

REAL = os.environ.get("SMALL_VIT_DATA")

FINE_NAMES = [f"fine{label}".encode() for label in range(100)]
COARSE_NAMES = [f"coarse{label}".encode() for label in range(20)]


def python2_pickle(value):
    """Pickle as Python 2 and an early NumPy did: byte strings, and numpy.core."""

    def write(value):
        if isinstance(value, bytes):
            return b"T" + struct.pack("<I", len(value)) + value
        if isinstance(value, int):
            return b"J" + struct.pack("<i", value)
        if isinstance(value, list):
            return b"](" + b"".join(map(write, value)) + b"e"
        if isinstance(value, dict):
            return b"}(" + b"".join(write(key) + write(item) for key, item in value.items()) + b"u"
        empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
        dtype = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffK\x00tb"
        shape = b"(" + b"".join(map(write, value.shape)) + b"t"
        return empty + b"(K\x01" + shape + dtype + b"\x89" + write(value.tobytes()) + b"tb"

    return b"\x80\x02" + write(value) + b"."


def python3_pickle(value):
    return pickle.dumps(value, protocol=2)


def rows(examples, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (examples, 3072), dtype=np.uint8)


def cifar100_files():
    def batch(examples, seed):
        fine = [(7 * index) % 100 for index in range(examples)]
        return {
            b"filenames": [b"x.png"] * examples,
            b"fine_labels": fine,
            b"coarse_labels": [label // 5 for label in fine],
            b"data": rows(examples, seed),
        }

    return {
        "train": batch(12, 0),
        "test": batch(5, 1),
        "meta": {b"fine_label_names": FINE_NAMES, b"coarse_label_names": COARSE_NAMES},
    }


def cifar10_files():
    files = {
        f"data_batch_{n}": {b"data": rows(3, n), b"labels": [n, n + 1, n + 2]} for n in range(1, 6)
    }
    files["test_batch"] = {b"data": rows(4, 9), b"labels": [0, 1, 8, 9]}
    files["batches.meta"] = {b"label_names": [f"name{label}".encode() for label in range(10)]}
    return files


def write_folder(folder, files, to_bytes=python3_pickle):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else to_bytes(content))
    return folder


def write_archive(path, folder):
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, folder.name)
    return path


def write_fashion_mnist(folder, counts=(6, 6, 3, 3), side=28, labels=(0, 9, 4, 4, 1, 2)):
    parts = zip(("train", "t10k"), (counts[:2], counts[2:]), strict=True)
    for seed, (part, (images, labelled)) in enumerate(parts):
        pixels = np.random.default_rng(seed).integers(0, 256, images * side**2, np.uint8)
        header = struct.pack(">HBBIII", 0, 8, 3, images, side, side)
        images_gz = gzip.compress(header + pixels.tobytes())
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(images_gz)
        labels_gz = gzip.compress(
            struct.pack(">HBBI", 0, 8, 1, labelled) + bytes(labels[:labelled])
        )
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(labels_gz)
    return folder


@pytest.fixture
def cifar100(tmp_path):
    return write_folder(tmp_path / "cifar-100-python", cifar100_files())


def labelled(counts):
    """A split of 1x1 images numbered in order, classes interleaved at random."""
    labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    np.random.default_rng(0).shuffle(labels)
    numbers = np.arange(len(labels), dtype=np.uint16).view(np.uint8).reshape(-1, 1, 1, 2)
    return Split(numbers, labels)


def pixels_of(split):
    return split.read(slice(None))


def numbers(split):
    return pixels_of(split).reshape(-1, 2).copy().view(np.uint16)[:, 0]


@pytest.fixture(params=["memory", "disk"])
def counted(request, tmp_path):
    """A split of 100 numbered images of 2 x 3, in memory or memory-mapped."""
    images = np.arange(600, dtype=np.uint32).astype(np.uint8).reshape(100, 2, 3, 1)
    if request.param == "disk":
        np.save(tmp_path / "images.npy", images)
        images = np.load(tmp_path / "images.npy", mmap_mode="r")
    return Split(images, np.arange(100, dtype=np.int32))


def test_a_split_reads_the_rows_asked_for(counted):
    images = np.arange(600, dtype=np.uint32).astype(np.uint8).reshape(100, 2, 3, 1)
    for rows in ([3, 1, 3], np.array([99]), slice(5, 8), slice(None), slice(98, 200)):
        read = counted.read(rows)
        assert type(read) is np.ndarray
        np.testing.assert_array_equal(read, images[rows])
    assert (len(counted), counted.image_shape, counted.nbytes) == (100, (2, 3, 1), 600)


def test_a_subset_is_a_view_of_its_rows(counted):
    odd = counted.subset(np.arange(1, 100, 2))
    last = odd.subset(slice(-2, None))
    assert last.labels.tolist() == [97, 99]
    np.testing.assert_array_equal(last.read([1, 0]), counted.read([99, 97]))
    assert len(counted) == 100
    with pytest.raises(InputError, match="at least one image"):
        counted.subset([])


@pytest.mark.parametrize(
    ("part_bytes", "multiple", "sizes"),
    [
        (6 * 40, 1, [40, 40, 20]),
        (1, 1, [1] * 100),
        (6 * 40, 16, [32, 32, 32, 4]),
        (10**9, 7, [100]),
    ],
)
def test_parts_are_all_images_in_order(counted, part_bytes, multiple, sizes):
    parts = list(counted.parts(part_bytes, multiple))
    assert list(map(len, parts)) == sizes
    np.testing.assert_array_equal(np.concatenate(parts), counted.read(slice(None)))


def test_a_digest_does_not_depend_on_where_the_images_lie(counted):
    def digest(split):
        made = hashlib.sha256()
        split.update(made)
        return made.hexdigest()

    in_memory = Split(counted.read(slice(None)), counted.labels)
    assert digest(counted) == digest(in_memory) == digest(counted.subset(slice(None)))
    assert digest(counted) != digest(counted.subset(slice(99)))


# Published files


@pytest.mark.parametrize("to_bytes", [python2_pickle, python3_pickle])
def test_cifar100_pixels_are_channel_planes_in_row_major_order(tmp_path, to_bytes):
    files = cifar100_files()
    write_folder(tmp_path / "cifar-100-python", files, to_bytes)
    dataset = load_dataset("cifar100", tmp_path)
    for split, content in ((dataset.train, files["train"]), (dataset.test, files["test"])):
        expected = np.empty((len(split), 32, 32, 3), np.uint8)
        for row in range(32):
            for column in range(32):
                for channel in range(3):
                    position = 1024 * channel + 32 * row + column
                    expected[:, row, column, channel] = content[b"data"][:, position]
        np.testing.assert_array_equal(pixels_of(split), expected)
        assert split.read(slice(None)).flags.c_contiguous
        assert split.labels.tolist() == content[b"fine_labels"]
    assert dataset.class_names == tuple(name.decode() for name in FINE_NAMES)
    assert (dataset.num_classes, dataset.image_shape) == (100, (32, 32, 3))


def test_cifar100_coarse_labels(cifar100):
    fine, coarse = load_dataset("cifar100", cifar100), load_dataset("cifar100-coarse", cifar100)
    np.testing.assert_array_equal(coarse.train.labels, fine.train.labels // 5)
    np.testing.assert_array_equal(pixels_of(coarse.train), pixels_of(fine.train))
    assert coarse.num_classes == 20


def test_cifar10_joins_its_batches_in_order(tmp_path):
    write_folder(tmp_path / "cifar-10-batches-py", cifar10_files(), python2_pickle)
    dataset = load_dataset("cifar10", str(tmp_path))
    assert dataset.train.labels.tolist() == [n + k for n in range(1, 6) for k in range(3)]
    first_red = [rows(3, n)[k, 0] for n in range(1, 6) for k in range(3)]
    assert pixels_of(dataset.train)[:, 0, 0, 0].tolist() == first_red
    assert dataset.class_names[9] == "name9"
    assert len(dataset.test) == 4


def test_text_keys_and_column_major_pixels(tmp_path):
    files = {
        name: {key.decode(): value for key, value in content.items()}
        for name, content in cifar100_files().items()
    }
    files["train"]["data"] = np.asfortranarray(files["train"]["data"])
    write_folder(tmp_path / "text", files)
    write_folder(tmp_path / "published", cifar100_files())
    text, published = (
        load_dataset("cifar100", tmp_path / "text"),
        load_dataset("cifar100", tmp_path / "published"),
    )
    assert fingerprint(text) == fingerprint(published)


@pytest.mark.parametrize("name", ["cifar100", "cifar10"])
def test_archive_and_folder_give_the_same(tmp_path, name):
    folder, archive, files = {
        "cifar100": ("cifar-100-python", "cifar-100-python.tar.gz", cifar100_files()),
        "cifar10": ("cifar-10-batches-py", "cifar-10-python.tar.gz", cifar10_files()),
    }[name]
    folder = write_folder(tmp_path / "unpacked" / folder, files)
    (tmp_path / "packed").mkdir()
    archive = write_archive(tmp_path / "packed" / archive, folder)
    before = sorted(tmp_path.rglob("*"))
    ways = [folder, folder.parent, archive, archive.parent]
    assert len({fingerprint(load_dataset(name, way)) for way in ways}) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_fashion_mnist(tmp_path):
    dataset = load_dataset("fashion_mnist", write_fashion_mnist(tmp_path))
    pixels = np.random.default_rng(0).integers(0, 256, 6 * 784, np.uint8)
    np.testing.assert_array_equal(pixels_of(dataset.train), pixels.reshape(6, 28, 28, 1))
    assert dataset.train.labels.tolist() == [0, 9, 4, 4, 1, 2]
    assert len(dataset.test) == 3
    assert dataset.class_names[0] == "T-shirt/top"
    assert dataset.num_classes == 10


def test_digits():
    dataset = load_dataset("digits")
    assert (len(dataset.train), len(dataset.test)) == (1437, 360)
    assert dataset.image_shape == (8, 8, 1)
    assert dataset.class_names == tuple("0123456789")
    assert (pixels_of(dataset.train).min(), pixels_of(dataset.train).max()) == (0, 255)
    assert len(np.unique(pixels_of(dataset.train))) == 17
    assert np.bincount(dataset.test.labels).min() >= 34
    assert fingerprint(dataset) == fingerprint(load_dataset("digits"))
    with pytest.raises(InputError, match="digits is embedded"):
        load_dataset("digits", ".")


# Wrong input


def test_unknown_name_lists_the_names():
    with pytest.raises(InputError, match=r"cifar100, .*digits.*'mnist'") as caught:
        load_dataset("mnist")
    assert all(name in str(caught.value) for name in DATASETS)


def change(files, name, key, value):
    files[name] = files[name] | {key: value}
    return files


WRONG_FILES = {
    "no meta": (lambda f: {k: v for k, v in f.items() if k != "meta"}, "meta"),
    "not a dict": (lambda f: f | {"train": [1, 2]}, "train must hold a dict. Received: list"),
    "garbage": (lambda f: f | {"train": b"\x00garbage"}, "train cannot be read"),
    "empty file": (lambda f: f | {"train": b""}, "train cannot be read"),
    "cut off": (lambda f: f | {"train": python2_pickle(f["train"])[:9000]}, "train cannot be read"),
    "no labels": (
        lambda f: f | {"train": {b"data": rows(2, 0)}},
        "train must have an entry 'fine_labels'. Received: data",
    ),
    "no data": (lambda f: f | {"test": {b"fine_labels": [1]}}, "must have an entry 'data'"),
    "wrong row": (lambda f: change(f, "train", b"data", np.zeros((12, 3071), "u1")), "3071"),
    "wrong type": (lambda f: change(f, "train", b"data", np.zeros((12, 3072), "f4")), "f4"),
    "objects": (lambda f: change(f, "train", b"data", np.full((1, 3072), None)), "O8"),
    "no array": (lambda f: change(f, "train", b"data", [1, 2]), "Received: list"),
    "label 100": (lambda f: change(f, "train", b"fine_labels", [100] * 12), "0..99.*: 100"),
    "label -1": (lambda f: change(f, "test", b"fine_labels", [-1] * 5), "0..99.*: -1"),
    "text label": (lambda f: change(f, "test", b"fine_labels", ["a"] * 5), "0..99.*: 'a'"),
    "labels no list": (lambda f: change(f, "test", b"fine_labels", 3), "list of 5 labels.*: int"),
    "label short": (lambda f: change(f, "train", b"fine_labels", [1] * 11), "12 labels.*: 11"),
    "no image": (
        lambda f: f | {"test": python2_pickle({b"data": np.empty((0, 3072)), b"fine_labels": []})},
        "test must hold images",
    ),
    "names short": (lambda f: change(f, "meta", b"fine_label_names", [b"a"]), "100 names"),
    "names no list": (lambda f: change(f, "meta", b"fine_label_names", b"a"), "list of names"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
@pytest.mark.parametrize("packed", [False, True])
def test_wrong_cifar_file_is_named(tmp_path, case, packed):
    spoil, message = WRONG_FILES[case]
    where = write_folder(tmp_path / "cifar-100-python", spoil(cifar100_files()))
    if packed:
        where = write_archive(tmp_path / "a.tar.gz", where)
    with pytest.raises(InputError, match=message) as caught:
        load_dataset("cifar100", where)
    assert str(where) in str(caught.value)


def test_missing_places(tmp_path):
    with pytest.raises(InputError, match=r"cifar-100-python/ or .*There is no .*nowhere"):
        load_dataset("cifar100", tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"cifar-10-batches-py/ or .*has neither"):
        load_dataset("cifar10", tmp_path)
    with pytest.raises(InputError, match=r"lacks train-images.*t10k-labels"):
        load_dataset("fashion_mnist", tmp_path)


def test_broken_archives(tmp_path, cifar100):
    archive = write_archive(tmp_path / "cifar-100-python.tar.gz", cifar100)
    whole = archive.read_bytes()
    for cut in (0, 5, len(whole) // 2, len(whole) - 4):
        archive.write_bytes(whole[:cut])
        with pytest.raises(InputError, match=r"(?s)cifar-100-python.tar.gz.*download it again"):
            load_dataset("cifar100", archive)
    flipped = bytearray(whole)
    flipped[-6] ^= 1
    archive.write_bytes(flipped)
    with pytest.raises(InputError, match="CRC"):
        load_dataset("cifar100", archive)


def test_foreign_archives(tmp_path, cifar100):
    other = tmp_path / "other.tar.gz"
    other.write_bytes(b"PK\x03\x04 a zip file")
    with pytest.raises(InputError, match="Not a gzipped file"):
        load_dataset("cifar100", other)
    other.write_bytes(gzip.compress(b"text" * 400))
    with pytest.raises(InputError, match=r"other.tar.gz cannot be read as cifar-100"):
        load_dataset("cifar100", other)
    write_archive(other, cifar100)
    with pytest.raises(InputError, match=r"lacks data_batch_1, .*batches.meta"):
        load_dataset("cifar10", other)
    with tarfile.open(other, "w:gz") as archive:
        for name in ("train", "test", "meta"):
            link = tarfile.TarInfo(f"cifar-100-python/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, str(cifar100 / name)
            archive.addfile(link)
    with pytest.raises(InputError, match="lacks train, test, meta"):
        load_dataset("cifar100", other)


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", ["train", "meta"])
def test_a_pickle_runs_nothing(cifar100, protocol, name, tmp_path):
    harmless = (cifar100 / name).read_bytes()
    trap = tmp_path / "trap"
    for call in (
        Call(os.system, f"touch {trap}"),
        Call(Path.touch, trap),
        Call(eval, f"open({str(trap)!r}, 'w')"),
        Call(np.save, trap, 1),
        Call(io.open, str(trap), "w"),
    ):
        (cifar100 / name).write_bytes(pickle.dumps({b"data": call}, protocol))
        with pytest.raises(InputError, match="it asks for"):
            load_dataset("cifar100", cifar100)
        assert not list(tmp_path.glob("trap*"))
    (cifar100 / name).write_bytes(harmless)
    load_dataset("cifar100", cifar100)


def test_a_pickle_leaves_nothing_behind(cifar100):
    harmless = (cifar100 / "train").read_bytes()
    for known in (b"cnumpy\ndtype\n", b"c_codecs\nencode\n"):
        # BUILD with a pair of dicts sets attributes on what it is given, here on the reader's own.
        (cifar100 / "train").write_bytes(b"\x80\x02" + known + b"N}U\x08__init__Ns\x86b.")
        with pytest.raises(InputError):
            load_dataset("cifar100", cifar100)
    (cifar100 / "train").write_bytes(harmless)
    load_dataset("cifar100", cifar100)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"counts": (6, 5, 3, 3)}, "6 images and 5 labels"),
        ({"counts": (0, 0, 3, 3)}, "at least one image"),
        ({"side": 27}, "28x28 pixels"),
        ({"labels": (0, 10, 4, 4, 1, 2)}, r"training labels must be 0..9.*0..10"),
    ],
)
def test_wrong_fashion_mnist(tmp_path, wrong, message):
    with pytest.raises(InputError, match=message):
        load_dataset("fashion_mnist", write_fashion_mnist(tmp_path, **wrong))


def test_broken_fashion_mnist(tmp_path):
    images = write_fashion_mnist(tmp_path) / "train-images-idx3-ubyte.gz"
    content = images.read_bytes()
    for broken, message in (
        (content[:-20], "cannot be read"),
        (b"no gzip", "Not a gzipped file"),
        (gzip.compress(b"\0\0\x0d\3" + bytes(12)), "idx file of bytes in 3 dimensions"),
        (gzip.compress(b"\0\0\x08\3"), "idx file of bytes in 3 dimensions"),
        (gzip.compress(gzip.decompress(content)[:-1]), "6 x 28 x 28 values.*: 4703"),
    ):
        images.write_bytes(broken)
        with pytest.raises(InputError, match=message) as caught:
            load_dataset("fashion_mnist", tmp_path)
        assert str(images) in str(caught.value)


@pytest.mark.parametrize("name", ["cifar100", "cifar10", "fashion_mnist"])
def test_without_network_the_message_names_the_ways_out(monkeypatch, name):
    def unreachable(*args, **kwargs):
        raise Exception("URL fetch failure on https://…: None -- [Errno -2] Name not known")

    monkeypatch.setattr(keras.utils, "get_file", unreachable)
    with pytest.raises(InputError, match=r"(?s)URL fetch.*--data-dir a folder.*--recipe digits"):
        load_dataset(name)


def test_download_cache_is_read_in_place(monkeypatch, tmp_path, cifar100):
    def cached(file_name, origin, file_hash, cache_subdir):
        assert origin == "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
        assert len(file_hash) == 64
        return str(write_archive(tmp_path / file_name, cifar100))

    monkeypatch.setattr(keras.utils, "get_file", cached)
    assert fingerprint(load_dataset("cifar100")) == fingerprint(load_dataset("cifar100", cifar100))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 4, 4, 1), "f4"), np.zeros(2, "i4"), "float32"),
        (np.zeros((2, 4, 4), "u1"), np.zeros(2, "i4"), r"\(2, 4, 4\)"),
        (np.zeros((2, 4, 4, 1), "u1"), np.zeros(2, "i8"), "int64"),
        (np.zeros((2, 4, 4, 1), "u1"), np.zeros((2, 1), "i4"), r"\(2, 1\)"),
        (np.zeros((2, 4, 4, 1), "u1"), np.zeros(3, "i4"), "2 images and 3 labels"),
        (np.zeros((0, 4, 4, 1), "u1"), np.zeros(0, "i4"), "at least one image"),
    ],
)
def test_split_checks_its_arrays(images, labels, message):
    with pytest.raises(InputError, match=message):
        Split(images, labels)


def test_dataset_checks_its_splits():
    small, large = (Split(np.zeros((2, s, s, 1), "u1"), np.array([0, 1], "i4")) for s in (4, 5))
    with pytest.raises(InputError, match=r"one shape.*\(4, 4, 1\) and \(5, 5, 1\)"):
        Dataset("mine", small, large, ("a", "b"))
    with pytest.raises(InputError, match=r"mine: training labels must be 0..0"):
        Dataset("mine", small, small, ("a",))


def test_fingerprint_sees_a_pixel_a_label_and_a_shape():
    def dataset(images, labels):
        fixed = Split(np.zeros((1, *images.shape[1:]), "u1"), np.zeros(1, "i4"))
        return Dataset("mine", fixed, Split(images, labels), ("a", "b"))

    images, labels = np.zeros((2, 4, 6, 1), "u1"), np.zeros(2, "i4")
    changed_pixel, changed_label = images.copy(), labels.copy()
    changed_pixel[1, 3, 5, 0] = changed_label[1] = 1
    prints = [
        fingerprint(dataset(images, labels)),
        fingerprint(dataset(changed_pixel, labels)),
        fingerprint(dataset(images, changed_label)),
        fingerprint(dataset(images.reshape(2, 6, 4, 1), labels)),
    ]
    assert len(set(prints)) == 4
    assert fingerprint(dataset(images.copy(order="F"), labels)) == prints[0]
    assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest in prints)


# Subsets and hold-outs


@pytest.mark.parametrize("examples", [1, 3, 4, 30, 33, 41])
def test_take_balanced(examples):
    split = labelled((10, 11, 20, 15))
    subset = take_balanced(split, examples, num_classes=4, seed=3)
    counts = np.bincount(subset.labels, minlength=4)
    assert len(subset) == examples
    assert np.ptp(counts) <= 1
    kept = numbers(subset)
    assert (np.diff(kept.astype(int)) > 0).all()
    np.testing.assert_array_equal(split.labels[kept], subset.labels)
    np.testing.assert_array_equal(kept, numbers(take_balanced(split, examples, 4, 3)))
    if 1 < examples < 41:
        assert kept.tolist() != numbers(take_balanced(split, examples, 4, 4)).tolist()


@pytest.mark.parametrize(
    ("examples", "classes", "message"),
    [
        (0, 4, "must be 1..56.*: 0"),
        (57, 4, "must be 1..56.*: 57"),
        (44, 4, "class 0 has 10 examples. Take at most 43"),
        (5, 5, "class 4 has 0 examples. Take at most 4"),
        (4, 3, "label 3"),
    ],
)
def test_take_balanced_refuses(examples, classes, message):
    with pytest.raises(InputError, match=message):
        take_balanced(labelled((10, 11, 20, 15)), examples, classes, seed=0)


def test_the_most_a_balanced_subset_can_have():
    subset = take_balanced(labelled((10, 11, 20, 15)), 43, num_classes=4, seed=0)
    assert np.bincount(subset.labels).tolist() == [10, 11, 11, 11]


@pytest.mark.parametrize(("examples", "fraction"), [(100, 0.1), (10, 0.25), (7, 0.5), (100, 0.29)])
def test_hold_out_last_is_the_rule_of_keras(examples, fraction):
    train, validation = hold_out(labelled((examples,)), fraction, "last", seed=0)
    split_at = math.floor(examples * (1 - fraction))
    assert numbers(train).tolist() == list(range(split_at))
    assert numbers(validation).tolist() == list(range(split_at, examples))


def test_hold_out_stratified():
    split = labelled((40, 80, 120))
    train, validation = hold_out(split, 0.25, "stratified", seed=5)
    assert np.bincount(train.labels).tolist() == [30, 60, 90]
    assert np.bincount(validation.labels).tolist() == [10, 20, 30]
    assert sorted([*numbers(train), *numbers(validation)]) == list(range(240))
    for part in (train, validation):
        assert (np.diff(numbers(part).astype(int)) > 0).all()
        np.testing.assert_array_equal(split.labels[numbers(part)], part.labels)
    again, other = (hold_out(split, 0.25, "stratified", seed)[1] for seed in (5, 6))
    assert numbers(again).tolist() == numbers(validation).tolist() != numbers(other).tolist()


@pytest.mark.parametrize(
    ("counts", "fraction", "how", "message"),
    [
        ((9,), 0.0, "last", "between 0 and 1.*: 0.0"),
        ((9,), 1.0, "last", "between 0 and 1"),
        ((9,), math.nan, "last", "between 0 and 1"),
        ((9,), 0.95, "last", "either side"),
        ((1,), 0.5, "stratified", "either side"),
        ((9, 1), 0.5, "stratified", "cannot be stratified"),
        ((9, 9, 9), 0.05, "stratified", "cannot be stratified"),
        ((9,), 0.5, "first", "'last' or 'stratified'.*'first'"),
    ],
)
def test_hold_out_refuses(counts, fraction, how, message):
    with pytest.raises(InputError, match=message):
        hold_out(labelled(counts), fraction, how, seed=0)


# The published data


@pytest.mark.skipif(REAL is None, reason="SMALL_VIT_DATA names no folder with cifar-100-python/")
def test_published_cifar100():
    fine, coarse = load_dataset("cifar100", REAL), load_dataset("cifar100-coarse", REAL)
    assert pixels_of(fine.train).shape == (50_000, 32, 32, 3)
    assert pixels_of(fine.test).shape == (10_000, 32, 32, 3)
    assert set(np.bincount(fine.train.labels)) == {500}
    assert set(np.bincount(fine.test.labels)) == {100}
    assert fine.class_names[0] == "apple"
    assert coarse.class_names[0] == "aquatic_mammals"
    assert fingerprint(fine) != fingerprint(coarse)
    assert pixels_of(fine.train).mean(axis=(0, 1, 2)) == pytest.approx(
        [129.3, 124.1, 112.4], abs=0.1
    )
    pairs = set(zip(fine.train.labels.tolist(), coarse.train.labels.tolist(), strict=True))
    assert len(pairs) == 100
    assert pairs == set(zip(fine.test.labels.tolist(), coarse.test.labels.tolist(), strict=True))
    train, validation = hold_out(fine.train, 0.1, "last", seed=0)
    assert (len(train), len(validation)) == (45_000, 5_000)


def test_a_split_has_a_fingerprint_of_its_own():
    images = np.arange(2 * 2 * 2 * 1, dtype="uint8").reshape(2, 2, 2, 1)
    labels = np.array([0, 1], "int32")
    split = Split(images, labels)
    assert split.fingerprint() == Split(images.copy(), labels).fingerprint()
    others = [Split(images + 1, labels), Split(images, labels[::-1].copy()), split.subset([0])]
    assert len({each.fingerprint() for each in (split, *others)}) == 4
