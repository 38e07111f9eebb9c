"""Divides labelled images into training, validation and test."""

from collections import defaultdict

import numpy as np

from small_vit.data.folder.naming import some
from small_vit.errors import InputError

PARTS = ("training", "validation", "test")

DRAWS = 10
"""Of whole groups; the one is kept that is nearest to the wanted number of images of each class."""


def divide(
    parts,
    labels,
    groups,
    class_names,
    validation_fraction=0.1,
    test_fraction=0.1,
    validation_split="stratified",
    seed=0,
):
    """Divide images into training, validation and test, whole groups of each class.

    Validation and test images that are given stay so. What is missing is split off training: of
    each class the same part, at least one image, drawn from `seed`.

    Args:
        parts: For each image "training", "validation", "test", or None if it is still to be
            decided.
        labels: int `(images,)`, the class of each.
        groups: int `(images,)`. What is split off is split off in whole groups; between given parts
            they do not count.
        class_names: Name of class 0, 1, …
        validation_fraction: Part that becomes validation, of the images outside given validation
            and test images.
        test_fraction: Part of the same images that becomes the test set.
        validation_split: "stratified"; or "none" or "test", with which there is no validation: all
            its images, given ones too, are for training.
        seed: Seed of the draw, at least 0.

    Returns:
        An array of str `(images,)`: "training", "validation" or "test".

    Raises:
        InputError: if a class would be missing in a part, the fractions leave nothing for training,
            or `validation_split` is "last".
    """
    divided, missing = _given_and_missing(
        parts, validation_fraction, test_fraction, validation_split
    )
    require_every_class(np.unique(divided), divided, labels, class_names)
    _require_groups(labels, groups, divided, class_names, list(missing))
    images = np.bincount(labels[divided == "training"], minlength=len(class_names))
    rng = np.random.default_rng(seed)
    for done, (part, fraction) in enumerate(missing.items()):
        rows = np.flatnonzero(divided == "training")
        wanted = np.maximum(1, np.round(images * fraction)).astype(int)
        held = _hold_out(labels[rows], groups[rows], wanted, len(missing) - done, rng)
        divided[rows[held]] = part
    require_every_class(np.unique(divided), divided, labels, class_names)
    return divided


def require_every_class(needed, parts, labels, class_names):
    """Raise an `InputError` if a class has no image in a part.

    Args:
        needed: The parts that must have images of every class.
        parts: str `(images,)`, the part of each image.
        labels: int `(images,)`, its class.
        class_names: Name of class 0, 1, …
    """
    for part in needed:
        count = np.bincount(labels[parts == part], minlength=len(class_names))
        absent = [class_names[label] for label in np.flatnonzero(count == 0)]
        if absent:
            raise InputError(
                f"Every class must have images in {part}. Without any: {some(absent)}. Add images "
                f"of {'it' if len(absent) == 1 else 'them'}, remove the class everywhere, or, if "
                "the parts are not yours, draw them with another split_seed."
            )


def _given_and_missing(parts, validation_fraction, test_fraction, validation_split):
    """Return the parts as given, others for training, and the fractions of those still missing."""
    if validation_split == "last":
        raise InputError(
            "validation_split='last' needs images in an order, which files have not. Set it to "
            "stratified, none or test."
        )
    divided = np.array([part or "training" for part in parts], "U10")
    wanted = {"test": test_fraction, "validation": validation_fraction}
    if validation_split != "stratified":
        divided[divided == "validation"] = "training"
        del wanted["validation"]
    missing = {part: fraction for part, fraction in wanted.items() if part not in divided}
    if sum(missing.values()) >= 1:
        raise InputError(
            "test_fraction and validation_fraction must leave images for training. Received: "
            f"{test_fraction} and {validation_fraction}. Make their sum less than 1."
        )
    return divided, missing


def _require_groups(labels, groups, parts, class_names, missing):
    """Raise if a class has too few groups in training for the parts that are still missing."""
    inside = parts == "training"
    needed = 1 + len(missing)
    for label, name in enumerate(class_names):
        own = groups[inside & (labels == label)]
        count = len(np.unique(own))
        if missing and count < needed:
            together = f", in {count} groups of one scene or picture, which stay together"
            grouped = together if count < len(own) else ""
            raise InputError(
                f"Every class needs {needed} images or more to be divided into "
                f"{' and '.join(('training', *missing))}. Class {name} has {len(own)}{grouped}. "
                "Add images, remove the class, or give all parts yourself."
            )


def _hold_out(labels, groups, wanted, kept, rng):
    """Choose whole groups at random, with about as many images of each class as wanted.

    Args:
        labels: int `(images,)`.
        groups: int `(images,)`.
        wanted: Number of images of each class, at least 1.
        kept: Number of groups of each class that must not be chosen.
        rng: NumPy's generator.

    Returns:
        bool `(images,)`: those chosen, the best of `DRAWS` draws.
    """
    pairs, images = np.unique(groups * len(wanted) + labels, return_counts=True)
    counts = defaultdict(dict)  # by group, the number of its images of each class
    for pair, number in zip(pairs.tolist(), images.tolist(), strict=True):
        group, label = divmod(pair, len(wanted))
        counts[group][label] = number
    best, least = set(), (np.inf, np.inf)
    for _ in range(DRAWS):
        chosen, off = _draw(counts, wanted.tolist(), kept, rng)
        if off < least:
            best, least = chosen, off
        if least == (0, 0):  # as always without groups
            break
    return np.isin(groups, list(best))


def _draw(counts, wanted, kept, rng):
    """Draw groups once, at least one of each class where that leaves enough of the others.

    Args:
        counts: By group, a dict of the number of its images of each class.
        wanted: List of the number of images of each class.
        kept: Number of groups of each class that must not be chosen.
        rng: NumPy's generator.

    Returns:
        `(groups, off)`: the set of groups, and how far off it is: the number of classes without an
        image, and the squared distance of the numbers of images from `wanted`.
    """
    order = rng.permutation(sorted(counts)).tolist()
    groups_of = defaultdict(list)
    for group in order:
        for label in counts[group]:
            groups_of[label].append(group)
    spare = {label: len(groups) - kept for label, groups in groups_of.items()}
    lacking = list(wanted)
    chosen = set()

    def allowed(group):
        return group not in chosen and all(spare[label] > 0 for label in counts[group])

    def excess(group):
        """How many images of this group are more than are lacking."""
        return sum(max(0, number - lacking[label]) for label, number in counts[group].items())

    def further_off(group):
        """Change of the squared distance from what is wanted, with this group."""
        return sum(
            number * (number - 2 * lacking[label]) for label, number in counts[group].items()
        )

    def choose(group):
        chosen.add(group)
        for label, number in counts[group].items():
            spare[label] -= 1
            lacking[label] -= number

    # First one group of each class, rare classes before others that could take their groups.
    for label in sorted(groups_of, key=lambda label: len(groups_of[label])):
        candidates = [group for group in groups_of[label] if allowed(group)]
        if candidates and chosen.isdisjoint(groups_of[label]):
            choose(min(candidates, key=excess))
    for group in order:
        if allowed(group) and further_off(group) < 0:
            choose(group)
    absent = sum(chosen.isdisjoint(groups) for groups in groups_of.values())
    return chosen, (absent, sum(number**2 for number in lacking))
