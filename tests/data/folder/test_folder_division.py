"""The division into training, validation and test: its shares, its groups, what it refuses."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from small_vit.data.folder.division import divide, require_every_class
from small_vit.data.folder.groups import group_ids, require_separate
from small_vit.errors import InputError

pytestmark = pytest.mark.any_backend

NAMES = ("a", "b", "c")


def counts(parts, labels):
    """Return by part the number of images of each class."""
    return {
        part: np.bincount(labels[parts == part], minlength=3).tolist()
        for part in ("training", "validation", "test")
        if (parts == part).any()
    }


def divided(parts, labels, groups=None, **settings):
    groups = np.arange(len(labels)) if groups is None else groups
    return divide(parts, labels, groups, NAMES, **settings)


def given(**images):
    """Return the parts and labels of this many images of each of three classes in each part."""
    parts, labels = [], []
    for part, numbers in images.items():
        for label, number in enumerate(numbers):
            parts += [None if part == "open" else part] * number
            labels += [label] * number
    return parts, np.array(labels)


def test_nothing_given():
    parts, labels = given(open=(100, 50, 20))
    assert counts(divided(parts, labels), labels) == {
        "training": [80, 40, 16],
        "validation": [10, 5, 2],
        "test": [10, 5, 2],
    }
    shares = divided(parts, labels, validation_fraction=0.3, test_fraction=0.2)
    assert counts(shares, labels) == {
        "training": [50, 25, 10],
        "validation": [30, 15, 6],
        "test": [20, 10, 4],
    }


def test_three_images_are_enough():
    parts, labels = given(open=(300, 3, 3))
    found = counts(divided(parts, labels), labels)
    assert found == {"training": [240, 1, 1], "validation": [30, 1, 1], "test": [30, 1, 1]}


@pytest.mark.parametrize("missing", ["validation", "test"])
def test_what_is_missing_is_split_off_training(missing):
    other = "test" if missing == "validation" else "validation"
    parts, labels = given(training=(40, 20, 10), **{other: (5, 6, 7)})
    settings = {f"{missing}_fraction": 0.2, f"{other}_fraction": 0.9}
    found = divided(parts, labels, **settings)
    assert counts(found, labels) == {
        "training": [32, 16, 8],
        missing: [8, 4, 2],
        other: [5, 6, 7],
    }
    kept = np.array(parts) == other
    assert (found[kept] == other).all()


def test_all_given():
    parts, labels = given(training=(4, 2, 1), validation=(1, 1, 1), test=(2, 2, 2))
    assert divided(parts, labels).tolist() == parts


def test_training_alone():
    parts, labels = given(training=(10, 10, 10))
    assert counts(divided(parts, labels), labels)["test"] == [1, 1, 1]


@pytest.mark.parametrize("how", ["none", "test"])
def test_without_validation(how):
    parts, labels = given(training=(4, 4, 4), validation=(2, 2, 2), test=(1, 1, 1))
    found = counts(divided(parts, labels, validation_split=how), labels)
    assert found == {"training": [6, 6, 6], "test": [1, 1, 1]}
    parts, labels = given(open=(2, 2, 2))
    found = counts(divided(parts, labels, validation_split=how), labels)
    assert found == {"training": [1, 1, 1], "test": [1, 1, 1]}


def test_the_seed_alone_decides():
    parts, labels = given(open=(20, 20, 20))
    first = divided(parts, labels, seed=1)
    assert (divided(parts, labels, seed=1) == first).all()
    assert (divided(parts, labels, seed=2) != first).any()
    # The images of a split_seed stay the same from one version of the package to the next.
    test_images = [3, 16, 24, 25, 44, 58]
    assert np.flatnonzero(first == "test").tolist() == test_images


def test_every_image_is_held_out_equally_often():
    parts, labels = given(open=(20, 10, 10))
    draws = np.stack([divided(parts, labels, seed=seed) for seed in range(300)])
    often = (draws == "test").mean(axis=0)
    # 5 standard deviations of a share of 300 draws around one in ten.
    assert np.abs(often - 0.1).max() < 5 * np.sqrt(0.1 * 0.9 / 300)


@pytest.mark.parametrize("seed", range(20))
def test_groups_stay_whole(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 90, 600)
    # Half of the groups are of one class, the others of several.
    labels = np.where(groups % 2, groups % 3, rng.integers(0, 3, 600))
    found = divided([None] * 600, labels, groups, seed=seed)
    for group in np.unique(groups):
        assert len(set(found[groups == group])) == 1
    for part in ("validation", "test"):
        shares = np.bincount(labels[found == part]) / np.bincount(labels)
        assert np.abs(shares - 0.1).max() < 0.03


def test_groups_are_as_even_as_scikit_learns():
    ours, theirs = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        groups, labels = rng.integers(0, 90, 600), rng.integers(0, 3, 600)
        folds = StratifiedGroupKFold(10, shuffle=True, random_state=seed)
        _, rows = next(iter(folds.split(labels, labels, groups)))
        found = divided([None] * 600, labels, groups, seed=seed)
        for mean, held in ((ours, found == "test"), (theirs, np.isin(np.arange(600), rows))):
            mean.append(np.abs(np.bincount(labels[held]) / np.bincount(labels) - 0.1).mean())
    assert np.mean(ours) < 1.5 * np.mean(theirs)


def test_a_group_of_two_classes_is_held_out_about_as_often_as_others():
    labels = np.repeat([0, 1, 2], 20)
    groups = np.arange(60)
    groups[20] = 0
    draws = [divided([None] * 60, labels, groups, seed=seed)[0] == "test" for seed in range(300)]
    assert 0.03 < np.mean(draws) < 0.2


def test_a_few_large_groups():
    # One burst of 30 images in each part, though a tenth would be 9.
    labels = np.repeat([0, 1, 2], 90)
    groups = np.arange(270) // 30
    assert counts(divided([None] * 270, labels, groups), labels) == {
        "training": [30, 30, 30],
        "validation": [30, 30, 30],
        "test": [30, 30, 30],
    }


def test_a_group_too_large_stays_in_training():
    labels = np.repeat([0, 1, 2], 100)
    groups = np.where(np.arange(300) % 100 < 70, labels, 1000 + np.arange(300))
    for seed in range(5):
        found = divided([None] * 300, labels, groups, seed=seed)
        assert (found[groups < 3] == "training").all()
        assert counts(found, labels)["test"] == [10, 10, 10]


def refused(*arguments, **settings):
    with pytest.raises(InputError) as error:
        divided(*arguments, **settings)
    return str(error.value)


def test_the_last_images_of_a_folder():
    said = refused(*given(open=(9, 9, 9)), validation_split="last")
    assert said.startswith("validation_split='last' needs images in an order")


def test_too_few_images():
    said = refused(*given(open=(9, 2, 9)))
    assert "needs 3 images or more" in said and "Class b has 2. Add images" in said
    assert "Class c has 1." in refused(*given(training=(9, 2, 1), test=(1, 1, 1)))
    assert "needs 2 images or more" in refused(*given(open=(9, 1, 9)), validation_split="none")


def test_too_few_groups():
    parts, labels = given(open=(9, 9, 9))
    said = refused(parts, labels, np.minimum(np.arange(27), 19))
    assert "Class c has 9, in 2 groups of one scene" in said


def test_fractions_that_leave_nothing():
    said = refused(*given(open=(9, 9, 9)), validation_fraction=0.5, test_fraction=0.6)
    assert "Received: 0.6 and 0.5. Make their sum less than 1." in said


@pytest.mark.parametrize("part", ["training", "validation", "test"])
def test_a_class_missing_in_a_given_part(part):
    images = dict.fromkeys(("training", "validation", "test"), (2, 2, 2)) | {part: (0, 2, 0)}
    said = refused(*given(**images))
    assert f"Every class must have images in {part}. Without any: a, c. Add images of them" in said


def test_groups_that_cannot_be_divided():
    # Every image of b is in a group with most of a.
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    groups = np.array([0, 0, 0, 0, 1, 2, 3, 4, 5])
    assert "Class a has 3, in 1 groups" in refused([None] * 9, labels, groups)


def test_a_class_that_has_lost_its_images():
    parts = np.array(["training", "training", "test", "test"])
    require_every_class(["training", "test"], parts, np.array([0, 1, 0, 1]), NAMES[:2])
    with pytest.raises(InputError, match=r"in test\. Without any: a\. Add images of it"):
        require_every_class(["training", "test"], parts, np.array([0, 1, 1, 1]), NAMES[:2])
    with pytest.raises(InputError, match=r"in validation\. Without any: a, b\."):
        require_every_class(["validation"], parts, np.array([0, 1, 0, 1]), NAMES[:2])


# -------------------------------------------------------------- groups


def test_groups_by_path():
    paths = ["fire/p1_a.jpg", "fire/p1_b.jpg", "none/p1_c.jpg", "none/p22.jpg", "x.jpg", "y.jpg"]
    assert group_ids(paths, r"p\d+").tolist() == [0, 0, 0, 1, 2, 3]
    assert group_ids(paths, r"^(\w+)/p(\d)").tolist() == [0, 0, 1, 2, 3, 4]
    assert group_ids(paths, r"(p1)|q").tolist() == [0, 0, 0, 1, 2, 3]


def test_wrong_patterns():
    with pytest.raises(InputError, match=r"group_by must be a regular expression.*'\(a'"):
        group_ids(["a"], "(a")
    with pytest.raises(InputError, match="'z', which matches none of a, b"):
        group_ids(["a", "b"], "z")


def test_groups_across_given_parts():
    paths = ["train/1_a", "test/1_b", "train/2_a", "train/2_b"]
    require_separate(["training", "test", "training", "training"], np.array([0, 1, 2, 2]), paths)
    require_separate([None] * 4, np.array([0, 0, 2, 2]), paths)
    with pytest.raises(InputError, match="It joins train/1_a in training and test/1_b in test"):
        require_separate(["training", "test", "training", "training"], np.zeros(4, int), paths)
