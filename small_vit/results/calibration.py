"""How far probabilities can be trusted: reliability, and the temperature that improves it."""

import numpy as np
from scipy.optimize import brentq
from scipy.special import softmax

from small_vit.errors import InputError
from small_vit.results.metrics import CALIBRATION_BINS, check_outputs, confidence_bins

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.25, 10.0


def fit_temperature(logits, labels):
    """Return the temperature T for which the mean cross-entropy of `logits / T` is lowest.

    Dividing by T changes no image's class. The cross-entropy is convex in 1 / T, so its slope has
    at most one root. T stays from 0.25 to 10: where (almost) all images are classified correctly,
    the cross-entropy falls without end as T goes to 0, and so few mistakes cannot tell how sure the
    model may be.

    Source: Guo et al., arXiv 1706.04599, section 4.2.

    Args:
        logits: `(examples, classes)`, of validation images.
        labels: `(examples,)`, integers.

    Returns:
        Float.

    Raises:
        InputError: see `check_outputs`.
    """
    check_outputs(logits, labels)
    logits = logits.astype("float64")
    above_label = logits - logits[np.arange(len(labels)), labels, np.newaxis]

    def slope(log_temperature):
        """The derivative of the cross-entropy by 1 / T."""
        probabilities = softmax(above_label / np.exp(log_temperature), axis=-1)
        return (probabilities * above_label).sum(-1).mean()

    lowest, highest = np.log([LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE])
    if slope(lowest) <= 0:
        return LOWEST_TEMPERATURE
    if slope(highest) >= 0:
        return HIGHEST_TEMPERATURE
    return float(np.exp(brentq(slope, lowest, highest)))


def reliability(logits, labels, bins=CALIBRATION_BINS):
    """Return confidence and accuracy in bins of equal width of the confidence.

    Args:
        logits: `(examples, classes)`.
        labels: `(examples,)`, integers.
        bins: Number of bins, from confidence 0 to 1.

    Returns:
        Three arrays `(bins,)`: mean confidence, accuracy and number of images. The first two are
        NaN in a bin without images.

    Raises:
        InputError: if `bins` is below 1; see also `check_outputs`.
    """
    if bins < 1:
        raise InputError(f"bins must be at least 1. Received: {bins!r}.")
    check_outputs(logits, labels)
    confidence, correct, members = confidence_bins(logits, labels, bins)
    count = np.bincount(members, minlength=bins)
    mean_confidence, accuracy = (
        np.divide(
            np.bincount(members, weights=values, minlength=bins),
            count,
            out=np.full(bins, np.nan),
            where=count > 0,
        )
        for values in (confidence, correct)
    )
    return mean_confidence, accuracy, count
