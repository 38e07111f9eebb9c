"""The positive class of two, and the probability from which on an image is predicted as it."""

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    precision_recall_curve,
    precision_recall_fscore_support,
)

from small_vit.errors import InputError


def positive_class(name, class_names, labels):
    """Return the label of the positive class of two; None for more classes.

    Args:
        name: Its name. Default: the class that is rarer in `labels`.
        class_names: Names of all classes.
        labels: Training labels.

    Raises:
        InputError: if there are not two classes, or none of that name.
    """
    if name is None:
        counts = np.bincount(labels, minlength=len(class_names))
        return int(counts.argmin()) if len(class_names) == 2 else None
    if len(class_names) != 2:
        raise InputError(f"positive is for two classes. Received: {len(class_names)} classes.")
    if name not in class_names:
        raise InputError(f"positive must be one of {', '.join(class_names)}. Received: {name!r}.")
    return class_names.index(name)


def choose_threshold(probabilities, is_positive):
    """Return the threshold with the highest F1 of the positive class, chosen on validation images.

    All thresholds between two neighbouring probabilities predict the same. The middle of them is
    returned, and among gaps with equal F1 the widest one's.

    Args:
        probabilities: `(examples,)`, of the positive class.
        is_positive: `(examples,)`, bool: whether an image is of the positive class.

    Returns:
        Float from 0 to 1. An image with this probability or a higher one is predicted as positive.

    Raises:
        InputError: if no image is of the positive class.
    """
    if not np.any(is_positive):
        raise InputError(
            "The threshold is chosen for the F1 of the positive class, but none of the "
            f"{len(is_positive)} validation images is of it. Add some, or enlarge the "
            "validation set."
        )
    precision, recall, highs = precision_recall_curve(is_positive, probabilities)
    lows = np.concatenate([[0.0], highs[:-1]])
    # The last point of the curve has no threshold. Without a hit, both are 0 and so is F1.
    total = (precision + recall)[:-1]
    f1 = 2 * (precision * recall)[:-1] / np.where(total > 0, total, 1)
    # Equal fractions can differ in the last digit.
    widths = np.where(np.isclose(f1, f1.max(), rtol=1e-12, atol=0), highs - lows, -1)
    best = widths.argmax()
    # The middle of two neighbouring floats rounds to one of them, maybe the lower one.
    return float(max((lows[best] + highs[best]) / 2, np.nextafter(lows[best], highs[best])))


def metrics_at(threshold, probabilities, is_positive):
    """Return the metrics of two classes at a threshold.

    Args:
        threshold: From `choose_threshold`.
        probabilities: `(examples,)`, of the positive class.
        is_positive: `(examples,)`, bool: whether an image is of the positive class.

    Returns:
        Dict of floats: `accuracy_at_threshold`, and of the positive class `precision_at_threshold`,
        `recall_at_threshold`, `f1_at_threshold`; 0 where nothing is predicted as positive or is so.
    """
    predicted = probabilities >= threshold
    precision, recall, f1, _ = precision_recall_fscore_support(
        is_positive, predicted, average="binary", zero_division=0
    )
    return {
        "accuracy_at_threshold": float(accuracy_score(is_positive, predicted)),
        "precision_at_threshold": float(precision),
        "recall_at_threshold": float(recall),
        "f1_at_threshold": float(f1),
    }
