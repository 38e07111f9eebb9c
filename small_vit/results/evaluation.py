"""What is measured when training has ended."""

from dataclasses import dataclass

import numpy as np

from small_vit.results.bootstrap import bootstrap_intervals
from small_vit.results.calibration import fit_temperature
from small_vit.results.metrics import calibration_error, full_metrics, log_probabilities
from small_vit.results.threshold import choose_threshold, metrics_at


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The metrics of a model on test images.

    Attributes:
        logits: `(examples, classes)`, of the test images; divided by the temperature, if any.
        metrics: Dict of floats: `full_metrics`. A calibrated model also has `temperature` and
            `calibration_error_before`; two classes with validation images also `threshold` and
            `metrics_at` it.
        intervals: `[low, high]` by metric, from `bootstrap_intervals`.
    """

    logits: np.ndarray
    metrics: dict[str, float]
    intervals: dict[str, list[float]]


def evaluate(logits, labels, positive=None, held_out=None, calibrate=False, threshold=None):
    """Measure a model on test images; what is chosen is chosen on validation images.

    Args:
        logits: `(examples, classes)`, of the test images.
        labels: `(examples,)`, integers.
        positive: Of two classes, the label of the one that metrics are about; else None.
        held_out: `(logits, labels)` of validation images; None without.
        calibrate: Whether to divide all logits by the temperature with the lowest loss on
            `held_out`.
        threshold: Probability from which on an image is of the positive class. Default: it is
            chosen on `held_out`, if that is given.

    Returns:
        `Evaluation`.
    """
    chosen = {}
    if calibrate:
        temperature = fit_temperature(*held_out)
        chosen["temperature"] = temperature
        chosen["calibration_error_before"] = calibration_error(logits, labels)
        logits = logits / np.float32(temperature)
        held_out = held_out[0] / np.float32(temperature), held_out[1]
    if threshold is None and positive is not None and held_out is not None:
        threshold = choose_threshold(_probabilities(held_out[0], positive), held_out[1] == positive)
    if threshold is not None:
        probabilities = _probabilities(logits, positive)
        chosen["threshold"] = threshold
        chosen |= metrics_at(threshold, probabilities, labels == positive)
    return Evaluation(
        logits,
        full_metrics(logits, labels, positive) | chosen,
        bootstrap_intervals(logits, labels, positive),
    )


def _probabilities(logits, label):
    return np.exp(log_probabilities(logits)[:, label])
