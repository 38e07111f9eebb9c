"""A folder loaded as a dataset: its splits hold its files, and duplicates are where they belong."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from small_vit.config import DataConfig
from small_vit.data.folder import load
from small_vit.data.folder.groups import join_repeats
from small_vit.data.folder.load import add_equal, load_folder, repeats_to_drop
from small_vit.errors import InputError

pytestmark = pytest.mark.any_backend

SIZE = 16


def picture(seed):
    """Return random patches, which look alike for no two seeds."""
    patches = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return patches.repeat(SIZE // 8, 0).repeat(SIZE // 8, 1)


def save(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed)).save(path)


def make(root, **images):
    """Make a folder of images.

    Args:
        root: The folder.
        **images: Number of images in each subfolder, whose "__" stands for "/".
    """
    seed = 0
    for folder, number in images.items():
        for _ in range(number):
            save(root / folder.replace("__", "/") / f"{seed:03d}.png", seed)
            seed += 1
    return root


@pytest.fixture
def settings(tmp_path):
    """Return a function from a folder and settings to a `DataConfig`."""

    def make_settings(root, **values):
        values = {"validation_split": "stratified"} | values
        cache = str(tmp_path / "cache")
        return DataConfig(dataset="folder", data_dir=str(root), cache_dir=cache, **values)

    return make_settings


def all_files(dataset):
    return sorted(path for paths in dataset.files.values() for path in paths)


def part_of(dataset):
    return {path: part for part, paths in dataset.files.items() for path in paths}


def refused(data):
    with pytest.raises(InputError) as error:
        load_folder(data, SIZE)
    return str(error.value)


def test_the_splits_hold_the_files(tmp_path, settings):
    root = make(tmp_path / "photos", a=20, b=10, c=3)
    dataset = load_folder(settings(root), SIZE)
    assert (dataset.name, dataset.class_names) == ("photos", ("a", "b", "c"))
    assert dataset.image_shape == (SIZE, SIZE, 3)
    assert {part: len(split) for part, split in dataset.splits.items()} == {
        "training": 25,
        "validation": 4,
        "test": 4,
    }
    assert len(set(all_files(dataset))) == 33
    for part, split in dataset.splits.items():
        assert split.labels.dtype == np.int32
        images = split.read(slice(None))
        for path, image, label in zip(dataset.files[part], images, split.labels, strict=True):
            assert path.split("/")[0] == dataset.class_names[label]
            assert (image == np.asarray(Image.open(root / path))).all()
    assert (dataset.skipped, dataset.duplicates, dataset.dropped) == ((), (), ())
    assert dataset.notes[0] == "Layout: a folder for each class."
    assert dataset.notes[-2:] == (
        "Images: 25 for training, 4 for validation, 4 for test.",
        "The parts were drawn from each class, with split_seed 0.",
    )
    again = load_folder(settings(root), SIZE)
    assert again.files == dataset.files
    assert load_folder(settings(root, split_seed=1), SIZE).files != dataset.files


def test_given_parts(tmp_path, settings):
    root = make(tmp_path / "d", train__a=10, train__b=10, test__a=2, test__b=1)
    dataset = load_folder(settings(root), (SIZE, 8))
    assert dataset.image_shape == (SIZE, 8, 3)
    assert {part: len(paths) for part, paths in dataset.files.items()} == {
        "training": 18,
        "validation": 2,
        "test": 3,
    }
    assert all(path.startswith("test/") for path in dataset.files["test"])
    assert (
        dataset.notes[-1] == "Split off training, from each class, with split_seed 0: validation."
    )
    make(root, val__a=1, val__b=1)
    assert load_folder(settings(root), SIZE).notes[-1].startswith("Images: 20 for training, 2 for")
    dataset = load_folder(settings(root, validation_split="none"), SIZE)
    assert dataset.validation is None
    assert list(dataset.files) == ["training", "test"]
    assert len(dataset.files["training"]) == 22
    assert dataset.notes[-1] == "The validation images are for training: validation_split=none."


def test_a_table(tmp_path, settings):
    make(tmp_path, pictures=9)
    lines = [f"pictures/{number:03d}.png,{'xyz'[number % 3]}" for number in range(9)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *lines]))
    dataset = load_folder(settings(tmp_path / "labels.csv"), SIZE)
    assert dataset.name == "labels.csv"
    assert len(all_files(dataset)) == 9
    assert sorted(dataset.test.labels) == [0, 1, 2]


def test_equal_pictures_stay_on_one_side(tmp_path, settings):
    root = make(tmp_path / "d", a=8, b=8)
    for number in range(4):
        save(root / "a" / f"copy{number}.png", 0)
        save(root / "b" / f"copy{number}.png", 8)
    for seed in range(8):
        part = part_of(load_folder(settings(root, split_seed=seed), SIZE))
        assert len({part["a/000.png"], *(part[f"a/copy{number}.png"] for number in range(4))}) == 1
        assert len({part["b/008.png"], *(part[f"b/copy{number}.png"] for number in range(4))}) == 1
    dataset = load_folder(settings(root), SIZE)
    assert len(dataset.duplicates) == 2
    (group,) = [group for group in dataset.duplicates if "a/000.png" in group.files]
    assert sorted(group.files) == ["a/000.png", *(f"a/copy{number}.png" for number in range(4))]
    assert group.exact and set(group.classes) == {"a"}
    assert group.parts == tuple(part_of(dataset)[path] for path in group.files)
    assert dataset.dropped == ()
    dataset = load_folder(settings(root, drop_duplicates=True), SIZE)
    assert len(all_files(dataset)) == 16 and len(dataset.dropped) == 8
    assert not set(all_files(dataset)) & set(dataset.dropped)
    assert len(dataset.duplicates) == 2


def test_a_picture_in_two_classes(tmp_path, settings):
    root = make(tmp_path / "d", a=30, b=30)
    save(root / "b/odd.png", 3)
    for seed in range(4):
        part = part_of(load_folder(settings(root, split_seed=seed), SIZE))
        assert part["a/003.png"] == part["b/odd.png"]
    dataset = load_folder(settings(root, drop_duplicates=True), SIZE)
    assert dataset.duplicates[0].classes == ("a", "b")
    assert dataset.dropped == ("a/003.png", "b/odd.png")
    assert len(all_files(dataset)) == 59


def test_a_picture_in_two_given_parts(tmp_path, settings):
    root = make(tmp_path / "d", train__a=5, train__b=5, val__a=2, val__b=2, test__a=2, test__b=2)
    save(root / "test/a/train.png", 0)
    save(root / "val/b/train.png", 5)
    save(root / "val/a/test.png", 14)
    dataset = load_folder(settings(root), SIZE)
    assert {(group.files, group.parts) for group in dataset.duplicates} == {
        (("test/a/014.png", "val/a/test.png"), ("test", "validation")),
        (("test/a/train.png", "train/a/000.png"), ("test", "training")),
        (("train/b/005.png", "val/b/train.png"), ("training", "validation")),
    }
    dataset = load_folder(settings(root, drop_duplicates=True), SIZE)
    assert dataset.dropped == ("train/a/000.png", "train/b/005.png", "val/a/test.png")


def test_a_class_that_is_lost_with_its_duplicates(tmp_path, settings):
    root = make(tmp_path / "d", train__a=1, train__b=3, val__a=1, val__b=1, test__a=1, test__b=1)
    save(root / "test/a/train.png", 0)
    said = refused(settings(root, drop_duplicates=True))
    assert "Every class must have images in training. Without any: a." in said


def test_pictures_that_look_alike(tmp_path, settings):
    root = make(tmp_path / "d", train__a=5, train__b=5, val__a=2, val__b=2, test__a=2, test__b=2)
    brighter = np.minimum(picture(14).astype(int) + 3, 255).astype(np.uint8)
    for path in ("train/b/like.png", "train/b/like2.png"):
        Image.fromarray(brighter).save(root / path)
    dataset = load_folder(settings(root, drop_duplicates=True), SIZE)
    like = ("train/b/like.png", "train/b/like2.png")
    assert {(group.files, group.exact) for group in dataset.duplicates} == {
        (("test/a/014.png", *like), False),
        (like, True),
    }
    assert dataset.dropped == like


def test_unreadable_files(tmp_path, settings):
    root = make(tmp_path / "d", a=5, b=5)
    (root / "a/notes.txt").write_text("no image")
    assert "a/notes.txt" in refused(settings(root))
    dataset = load_folder(settings(root, skip_unreadable=True), SIZE)
    assert [path for path, _ in dataset.skipped] == ["a/notes.txt"]
    assert len(all_files(dataset)) == 10
    for part, split in dataset.splits.items():
        images = split.read(slice(None))
        for path, image in zip(dataset.files[part], images, strict=True):
            assert (image == np.asarray(Image.open(root / path))).all()


def test_a_class_of_unreadable_files(tmp_path, settings):
    root = make(tmp_path / "d", a=5, b=2)
    (root / "b/broken.png").write_bytes(b"\x89PNG")
    said = refused(settings(root, skip_unreadable=True))
    assert "needs 3 images or more" in said and "Class b has 2." in said


def test_groups_by_path(tmp_path, settings):
    root = tmp_path / "d"
    for seed in range(48):
        save(root / "ab"[seed % 2] / f"patient{seed // 4}_{seed}.png", seed)
    for seed in range(4):
        dataset = load_folder(settings(root, group_by=r"patient\d+", split_seed=seed), SIZE)
        part = part_of(dataset)
        for patient in range(12):
            parts = {part[path] for path in part if f"patient{patient}_" in path}
            assert len(parts) == 1


@pytest.mark.parametrize(
    ("folder", "values", "words"),
    [
        ({"a": 5, "b": 2}, {}, "Class b has 2."),
        ({"a": 5, "b": 5}, {"validation_split": "last"}, "validation_split='last' needs"),
        ({"a": 5, "b": 5}, {"group_by": "("}, "group_by must be a regular expression"),
        ({"a": 5, "b": 5}, {"group_by": "x"}, "group_by must match some paths"),
        ({"a": 9, "b": 9}, {"group_by": "(a|b)/"}, "Class a has 9, in 1 groups"),
        ({"train__a": 3, "train__b": 3, "test__a": 1}, {}, "images in test. Without any: b"),
        ({"train__a": 3, "test__a": 1, "test__b": 1}, {}, "images in training. Without any: b"),
        (
            {"train__a": 3, "train__b": 3, "test__a": 1, "test__b": 1},
            {"group_by": "a|b"},
            "group_by must not join images of several given parts",
        ),
        ({"a": 5}, {}, "two classes or more"),
    ],
)
def test_faults_are_said_before_images_are_read(
    tmp_path, settings, monkeypatch, folder, values, words
):
    def read_images(*arguments):
        raise AssertionError

    monkeypatch.setattr(load, "read_images", read_images)
    assert words in refused(settings(make(tmp_path / "d", **folder), **values))


def test_no_folder(tmp_path, settings):
    data = dataclasses.replace(settings(tmp_path), data_dir=None)
    assert "The dataset folder needs" in refused(data)


# ---------------------------------------------------------- duplicates


def test_joined_groups():
    labels = np.array([0, 0, 0, 1, 1, 0, 1])
    repeats = [
        (np.array([0, 3]), True),  # in two classes
        (np.array([1, 2, 4]), False),  # 4 is of another class
        (np.array([2, 5]), False),
    ]
    joined = join_repeats(np.array([9, 8, 7, 6, 5, 4, 5]), labels, repeats)
    same = joined[:, np.newaxis] == joined
    expected = [{0, 3}, {1, 2, 5}, {4, 6}]
    for one in range(7):
        for other in range(7):
            assert same[one, other] == any({one, other} <= group for group in expected)


def test_nothing_to_join():
    assert len(set(join_repeats(np.arange(5), np.zeros(5, int), []))) == 5


def test_equal_pictures_among_those_that_look_alike():
    repeats = [(np.array([0, 1, 3, 4, 6]), False), (np.array([2, 5]), True)]
    found = add_equal(repeats, ["x", "y", "z", "x", "y", "z", "w"])
    assert [(images.tolist(), exact) for images, exact in found] == [
        ([0, 1, 3, 4, 6], False),
        ([0, 3], True),
        ([1, 4], True),
        ([2, 5], True),
    ]


@pytest.mark.parametrize(
    ("parts", "labels", "exact", "dropped"),
    [
        (["training", "training", "training"], [0, 0, 0], True, [5, 6]),
        (["training", "test", "validation"], [0, 0, 0], True, [4, 6]),
        (["validation", "training", "validation"], [0, 0, 0], True, [5, 6]),
        (["training", "training", "test"], [0, 1, 0], True, [4, 5, 6]),
        (["training", "training", "training"], [0, 0, 0], False, []),
        (["training", "training", "test"], [0, 1, 0], False, [4, 5]),
        (["test", "validation", "test"], [0, 0, 0], False, [5]),
    ],
)
def test_which_duplicates_are_dropped(parts, labels, exact, dropped):
    others = 4
    labels = np.array([0] * others + labels)
    parts = np.array(["training"] * others + parts)
    assert repeats_to_drop(labels, parts, [(np.array([4, 5, 6]), exact)]) == dropped
