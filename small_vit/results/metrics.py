"""Metrics of a model's logits."""

import numpy as np
from scipy.special import log_softmax
from sklearn.metrics import precision_recall_fscore_support, top_k_accuracy_score

CALIBRATION_BINS = 15


def basic_metrics(logits, labels):
    """Return the metrics of an epoch's validation.

    Args:
        logits: `(examples, classes)`.
        labels: `(examples,)`, integers.

    Returns:
        Dict of floats: `loss` (mean cross-entropy), `accuracy`, `top5_accuracy`.
    """
    log_probabilities = log_softmax(logits.astype("float64"), axis=-1)
    classes = np.arange(logits.shape[-1])
    return {
        "loss": float(-log_probabilities[np.arange(len(labels)), labels].mean()),
        "accuracy": float((logits.argmax(-1) == labels).mean()),
        "top5_accuracy": 1.0
        if len(classes) <= 5
        else float(top_k_accuracy_score(labels, logits, k=5, labels=classes)),
    }


def full_metrics(logits, labels):
    """Return the metrics of the final test.

    Args:
        logits: `(examples, classes)`.
        labels: `(examples,)`, integers.

    Returns:
        `basic_metrics`, and `precision`, `recall`, `f1` (means over the classes) and
        `calibration_error`.
    """
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels,
        logits.argmax(-1),
        labels=np.arange(logits.shape[-1]),
        average="macro",
        zero_division=0,
    )
    return {
        **basic_metrics(logits, labels),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "calibration_error": calibration_error(logits, labels),
    }


def calibration_error(logits, labels):
    """Return the expected calibration error over 15 bins of equal width of the confidence.

    Source: Guo et al., arXiv 1706.04599, section 3, equation 5.

    Args:
        logits: `(examples, classes)`.
        labels: `(examples,)`, integers.

    Returns:
        Float from 0 to 1.
    """
    confidence = np.exp(log_softmax(logits.astype("float64"), axis=-1)).max(-1)
    correct = logits.argmax(-1) == labels
    # Bins are open on the left: (0, 1/15], …, (14/15, 1].
    bins = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1, 0, None)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(labels))
