"""Parts of a split: a class-balanced subset, and a held-out validation set."""

import math

import numpy as np

from small_vit.errors import InputError


def take_balanced(split, examples, num_classes, seed):
    """Draw a subset in which the classes are equally frequent.

    Class counts differ by at most one. Which classes get one more, and which examples are kept, is
    drawn from `seed`. The kept examples stay in order.

    Args:
        split: Examples to draw from.
        examples: Number to keep, at least 1.
        num_classes: Number of classes, including those without an example.
        seed: Seed of the draw, at least 0.

    Returns:
        A new split of `examples` examples.

    Raises:
        InputError: if `examples` is below 1, above `len(split)`, or more than a balanced subset can
            have; or if a label is not below `num_classes`.
    """
    if not 1 <= examples <= len(split):
        raise InputError(
            f"train_examples must be 1..{len(split)}, the number of training images. "
            f"Received: {examples}."
        )
    available = np.bincount(split.labels, minlength=num_classes)
    if len(available) > num_classes:
        raise InputError(
            f"num_classes must be above every label. Received: num_classes={num_classes} and "
            f"label {len(available) - 1}."
        )
    per_class, one_more = divmod(examples, num_classes)
    with_spare = np.flatnonzero(available > per_class)
    if available.min() < per_class or len(with_spare) < one_more:
        scarce = int(available.argmin())
        fewest = int(available[scarce])
        most = fewest * num_classes + np.count_nonzero(available > fewest)
        raise InputError(
            f"train_examples={examples} cannot be balanced over {num_classes} classes: class "
            f"{scarce} has {fewest} examples. Take at most {most}."
        )
    rng = np.random.default_rng(seed)
    wanted = np.full(num_classes, per_class)
    wanted[rng.choice(with_spare, one_more, replace=False)] += 1
    kept = [
        rng.choice(np.flatnonzero(split.labels == label), count, replace=False)
        for label, count in enumerate(wanted)
    ]
    return split.subset(np.sort(np.concatenate(kept)))


def hold_out(split, fraction, how, seed):
    """Divide a split into training and validation.

    Args:
        split: Examples to divide, n of them.
        fraction: Part that becomes validation, between 0 and 1. Training keeps
            floor(n * (1 - fraction)) examples, as in Keras's `fit(validation_split=)`.
        how: "last" holds out the last examples, unshuffled, exactly as Keras does. "stratified"
            holds out the same part of each class, drawn from `seed`. Both keep the order.
        seed: Seed of the draw, at least 0; "last" draws nothing.

    Returns:
        `(train, validation)`, disjoint and together all of `split`.

    Raises:
        InputError: if `fraction` is not between 0 and 1 or leaves one split empty, `how` is not one
            of these, or a class is too small to be stratified.
    """
    if how not in ("last", "stratified"):
        raise InputError(f"how must be 'last' or 'stratified'. Received: {how!r}.")
    if not 0 < fraction < 1:
        raise InputError(f"validation_fraction must be between 0 and 1. Received: {fraction}.")
    kept = math.floor(len(split) * (1.0 - fraction))
    if kept in (0, len(split)):
        raise InputError(
            f"validation_fraction must leave an example on either side. Received: {fraction} of "
            f"{len(split)} examples."
        )
    if how == "last":
        return split.subset(slice(kept)), split.subset(slice(kept, None))

    # Imported here, since scikit-learn takes seconds to import.
    from sklearn.model_selection import train_test_split

    try:
        train, validation = train_test_split(
            np.arange(len(split)),
            train_size=kept,
            test_size=len(split) - kept,
            stratify=split.labels,
            random_state=seed,
        )
    except ValueError as error:
        raise InputError(
            f"validation_fraction={fraction} of {len(split)} examples cannot be stratified: {error}"
            " Use more examples, another fraction, or validation_split='last'."
        ) from error
    return split.subset(np.sort(train)), split.subset(np.sort(validation))
