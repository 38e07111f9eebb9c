"""Metrics of a model's logits."""

import numpy as np
from scipy.special import log_softmax
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    precision_recall_fscore_support,
    roc_auc_score,
    top_k_accuracy_score,
)

from small_vit.errors import InputError

CALIBRATION_BINS = 15


def basic_metrics(logits, labels):
    """Return the metrics of an epoch's validation.

    Args:
        logits: `(examples, classes)`.
        labels: `(examples,)`, integers.

    Returns:
        Dict of floats: `loss` (mean cross-entropy, which others call log-loss), `accuracy`,
        `top5_accuracy` (1 for up to five classes).
    """
    classes = np.arange(logits.shape[-1])
    return {
        "loss": float(-log_probabilities(logits)[np.arange(len(labels)), labels].mean()),
        "accuracy": float((logits.argmax(-1) == labels).mean()),
        "top5_accuracy": 1.0
        if len(classes) <= 5
        else float(top_k_accuracy_score(labels, logits, k=5, labels=classes)),
    }


def full_metrics(logits, labels, positive=None):
    """Return the metrics of the final test.

    Precision of a class that is never predicted is 0, and so is recall of one that has no image.
    Classes that have no image and are never predicted are left out of the means. There are no micro
    means, since each equals the accuracy; so does `recall_weighted`.

    Args:
        logits: `(examples, classes)`.
        labels: `(examples,)`, integers.
        positive: Of two classes, the one to detect. Default: no class is special.

    Returns:
        Dict of floats: `basic_metrics`, and

        - `precision`, `recall`, `f1`: means over the classes ("macro").
        - `calibration_error`: see `calibration_error`.
        - `balanced_accuracy`: mean recall of the classes that have images.
        - `precision_weighted`, `recall_weighted`, `f1_weighted`: means over the classes, weighted
          by their numbers of images.
        - `roc_auc`, `average_precision`: each class against all others, mean of the classes that
          have images; with `positive`, of that class. Left out if all images are of one class.
        - `precision_positive`, `recall_positive`, `f1_positive`: of that class, with `positive`.

    Raises:
        InputError: see `check_outputs`.
    """
    check_outputs(logits, labels, positive)
    precision, recall, f1, images = _by_class(logits, labels)
    met = classes_met(logits, labels)
    ranked = np.flatnonzero(images) if positive is None else [positive]
    metrics = {
        **basic_metrics(logits, labels),
        "precision": precision[met].mean(),
        "recall": recall[met].mean(),
        "f1": f1[met].mean(),
        "calibration_error": calibration_error(logits, labels),
        "balanced_accuracy": recall[images > 0].mean(),
        "precision_weighted": np.average(precision, weights=images),
        "recall_weighted": np.average(recall, weights=images),
        "f1_weighted": np.average(f1, weights=images),
    }
    if images.max() < len(labels):
        ranking = _ranking(logits, labels, ranked)
        metrics["roc_auc"], metrics["average_precision"] = np.mean(ranking, axis=0)
    if positive is not None:
        metrics["precision_positive"] = precision[positive]
        metrics["recall_positive"] = recall[positive]
        metrics["f1_positive"] = f1[positive]
    return {name: float(value) for name, value in metrics.items()}


def classes_met(logits, labels):
    """Return the classes that have images or are predicted, increasing.

    Args:
        logits: `(examples, classes)`.
        labels: `(examples,)`, integers.
    """
    return np.union1d(labels, logits.argmax(-1))


def per_class(logits, labels, class_names):
    """Return the metrics of each class against all others.

    Args:
        logits: `(examples, classes)`.
        labels: `(examples,)`, integers.
        class_names: Name of class 0, 1, …

    Returns:
        One dict per class: `name`, `images` (how many are of the class), `precision`, `recall`,
        `f1`, `roc_auc`, `average_precision`. The last two are None if no or all images are of the
        class.

    Raises:
        InputError: see `check_outputs`.
    """
    check_outputs(logits, labels)
    precision, recall, f1, images = _by_class(logits, labels)
    ranked = [index for index, count in enumerate(images) if 0 < count < len(labels)]
    ranking = dict(zip(ranked, _ranking(logits, labels, ranked), strict=True))
    rows = []
    for index, name in enumerate(class_names):
        roc_auc, average_precision = ranking.get(index, (None, None))
        rows.append(
            {
                "name": name,
                "images": int(images[index]),
                "precision": float(precision[index]),
                "recall": float(recall[index]),
                "f1": float(f1[index]),
                "roc_auc": roc_auc,
                "average_precision": average_precision,
            }
        )
    return rows


def confusion(logits, labels):
    """Return how many images of each class are predicted as each class.

    Args:
        logits: `(examples, classes)`.
        labels: `(examples,)`, integers.

    Returns:
        Integer array `(classes, classes)`: a row per class, a column per prediction.

    Raises:
        InputError: see `check_outputs`.
    """
    check_outputs(logits, labels)
    return confusion_matrix(labels, logits.argmax(-1), labels=np.arange(logits.shape[-1]))


def calibration_error(logits, labels):
    """Return the expected calibration error over 15 bins of equal width of the confidence.

    Source: Guo et al., arXiv 1706.04599, section 3, equation 5.

    Args:
        logits: `(examples, classes)`.
        labels: `(examples,)`, integers.

    Returns:
        Float from 0 to 1.
    """
    confidence, correct, bins = confidence_bins(logits, labels, CALIBRATION_BINS)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(labels))


def confidence_bins(logits, labels, count):
    """Return each image's confidence, whether it is classified correctly, and its bin.

    Args:
        logits: `(examples, classes)`.
        labels: `(examples,)`, integers.
        count: Bins of equal width, from 0 to 1.

    Returns:
        Three arrays `(examples,)`: the largest probability, a bool, and an int from 0 to
        `count - 1`.
    """
    confidence = np.exp(log_probabilities(logits)).max(-1)
    # Bins are open on the left: (0, 1/count], …, (1 - 1/count, 1].
    bins = np.clip(np.ceil(confidence * count).astype(int) - 1, 0, None)
    return confidence, logits.argmax(-1) == labels, bins


def log_probabilities(logits):
    """Return the logarithm of the softmax of `logits` `(examples, classes)`, in float64."""
    return log_softmax(logits.astype("float64"), axis=-1)


def check_outputs(logits, labels, positive=None):
    """Check that logits and labels fit each other.

    Args:
        logits: `(examples, classes)`.
        labels: `(examples,)`, integers.
        positive: None, or one of two classes.

    Raises:
        InputError: if there are no images, the shapes do not fit, a label is no class, a logit is
            not finite, or there is a `positive` without exactly two classes.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not labels.size:
        raise InputError(
            "logits must be of shape (images, classes) and labels of shape (images,), with at "
            f"least one image. Received: {logits.shape} and {labels.shape}."
        )
    classes = logits.shape[-1]
    if labels.min() < 0 or labels.max() >= classes:
        raise InputError(
            f"labels must be from 0 to {classes - 1}, as the logits are of {classes} classes. "
            f"Received: {labels.min()} to {labels.max()}."
        )
    broken = int((~np.isfinite(logits).all(-1)).sum())
    if broken:
        raise InputError(
            f"The logits of {broken} of {len(labels)} images are not finite: the weights have "
            "diverged, or float16 overflows. Train with a lower learning rate, or in bfloat16 or "
            "float32."
        )
    if positive is not None and (classes != 2 or positive not in (0, 1)):
        raise InputError(
            f"positive must be 0 or 1, and needs two classes. Received: {positive!r} for {classes} "
            "classes."
        )


def _by_class(logits, labels):
    """Precision, recall, F1 and number of images, each an array `(classes,)`."""
    return precision_recall_fscore_support(
        labels,
        logits.argmax(-1),
        labels=np.arange(logits.shape[-1]),
        average=None,
        zero_division=0,
    )


def _ranking(logits, labels, classes):
    """ROC-AUC and average precision of each of `classes`, which have some but not all images."""
    scores = log_probabilities(logits)
    return [
        (
            float(roc_auc_score(labels == index, scores[:, index])),
            float(average_precision_score(labels == index, scores[:, index])),
        )
        for index in classes
    ]
