"""Bootstrap intervals of the metrics, over the test images.

scikit-learn measures one resample at a time, and `scipy.stats.bootstrap` does not resample within
classes. Here a resample is a number of copies of each image, and many are measured at once.
"""

import numpy as np
from scipy.sparse import csr_array

from small_vit.results.metrics import (
    CALIBRATION_BINS,
    check_outputs,
    classes_met,
    confidence_bins,
    log_probabilities,
)

COPIES_AT_ONCE = 2**20
"""Images times resamples that are measured together; an array of them has 8 MB."""


def bootstrap_intervals(logits, labels, positive=None, resamples=1000, seed=0):
    """Return the 95 % bootstrap interval of each of `full_metrics` but the calibration error.

    Images are drawn with replacement within each class, and the interval is from the 2.5th to the
    97.5th percentile of the metric. Some metrics are higher on few images than on many: average
    precision, precision of many classes. A resample, which has fewer different images, is higher
    still. Both biases are about the mean difference of the resamples from the measured value, so
    the percentiles are moved by twice that, but not beyond the measured value. With ten images of
    each of ten classes, the interval of average precision still covers the true value in only about
    83 of 100 cases, that of accuracy in about 95.

    The calibration error has no interval. It cannot be below 0, so near 0 most of what is measured
    is noise, and a resample adds less noise of its own than that: for a calibrated model such
    intervals covered the true value in fewer than half of the cases.

    The interval says how far a metric may differ on other test images of the same kind, for this
    one trained model and these numbers of images per class. It does not cover another training (the
    interval over seeds does), other class shares, or images of another kind. With few images it is
    too narrow: a class's only image is in each resample, and if all images are classified
    correctly, they are so in each resample, and the interval has no width. Up to 3 / examples of
    all images may still be misclassified then.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), sections 10.3 (bias) and
    13.3 (percentiles).

    Args:
        logits: `(examples, classes)`.
        labels: `(examples,)`, integers.
        positive: As in `full_metrics`.
        resamples: Number of resamples.
        seed: Seed of the resamples, which are the same on every machine.

    Returns:
        By the name of each metric, a list `[low, high]`.

    Raises:
        InputError: see `check_outputs`.
    """
    check_outputs(logits, labels, positive)
    order = np.argsort(labels, kind="stable")
    metrics = ResampledMetrics(logits[order], labels[order], positive)
    measured = metrics.of(np.ones((len(labels), 1)))
    parts = [metrics.of(copies) for copies in resample(labels[order], resamples, seed)]
    intervals = {}
    del measured["calibration_error"]
    for name, (value,) in measured.items():
        values = np.concatenate([part[name] for part in parts])
        bias = values.mean() - value
        low, high = np.quantile(values, (0.025, 0.975)) - 2 * bias
        highest = np.inf if name == "loss" else 1.0
        intervals[name] = [float(max(0.0, min(low, value))), float(min(highest, max(high, value)))]
    return intervals


def resample(labels, resamples, seed):
    """Draw images with replacement within each class, as many as the class has.

    Args:
        labels: `(examples,)`, ascending integers.
        resamples: Number of resamples.
        seed: Seed of the draws.

    Yields:
        Arrays `(examples, some resamples)`: how often each image is in each resample.
    """
    generator = np.random.default_rng(seed)
    examples = len(labels)
    first = np.searchsorted(labels, labels)
    members = np.bincount(labels)[labels]
    at_once = max(1, COPIES_AT_ONCE // examples)
    for done in range(0, resamples, at_once):
        count = min(at_once, resamples - done)
        drawn = first + (generator.random((count, examples)) * members).astype("int64")
        drawn += examples * np.arange(count)[:, np.newaxis]
        copies = np.bincount(drawn.ravel(), minlength=count * examples)
        yield np.ascontiguousarray(copies.reshape(count, examples).T, dtype="float64")


class ResampledMetrics:
    """The metrics of many resamples of the same images.

    Args:
        logits: `(examples, classes)`.
        labels: `(examples,)`, integers.
        positive: As in `full_metrics`.
    """

    def __init__(self, logits, labels, positive=None):
        examples, classes = logits.shape
        every = np.arange(examples)
        self.positive = positive
        self.images = np.bincount(labels, minlength=classes)  # the same in each resample
        predictions = logits.argmax(-1)
        scores = log_probabilities(logits)
        # Ties are broken as scikit-learn does, which matters only for equal logits.
        top5 = np.argsort(logits, kind="stable")[:, :-6:-1]
        self.means = {
            "loss": -scores[every, labels],
            "accuracy": predictions == labels,
            "top5_accuracy": (top5 == labels[:, np.newaxis]).any(-1),
        }
        self.met = classes_met(logits, labels)
        self.hits = _sums(labels, every, (classes, examples), predictions == labels)
        self.predicted = _sums(predictions, every, (classes, examples))
        confidence, correct, bins = confidence_bins(logits, labels, CALIBRATION_BINS)
        self.gaps = _sums(bins, every, (CALIBRATION_BINS, examples), correct - confidence)
        ranked = np.flatnonzero(self.images) if positive is None else [positive]
        self.rankings = []
        if self.images.max() < examples:
            self.rankings = [_Ranking(scores[:, index], labels == index) for index in ranked]

    def of(self, copies):
        """Return the metrics of resamples.

        Args:
            copies: float64 `(examples, resamples)`: how often each image is in each resample. The
                number of images of each class is that of the images themselves.

        Returns:
            By the names of `full_metrics`, arrays `(resamples,)`.
        """
        examples = len(copies)
        images = self.images[:, np.newaxis]
        hits, predicted = self.hits @ copies, self.predicted @ copies
        precision = hits / np.maximum(predicted, 1)
        recall = hits / np.maximum(images, 1)
        f1 = 2 * hits / np.maximum(predicted + images, 1)
        metrics = {name: values @ copies / examples for name, values in self.means.items()}
        metrics |= {
            "precision": precision[self.met].mean(0),
            "recall": recall[self.met].mean(0),
            "f1": f1[self.met].mean(0),
            "calibration_error": np.abs(self.gaps @ copies).sum(0) / examples,
            "balanced_accuracy": recall[self.images > 0].mean(0),
            "precision_weighted": self.images @ precision / examples,
            "recall_weighted": self.images @ recall / examples,
            "f1_weighted": self.images @ f1 / examples,
        }
        if self.rankings:
            rankings = [ranking.of(copies) for ranking in self.rankings]
            metrics["roc_auc"], metrics["average_precision"] = np.mean(rankings, axis=0)
        if self.positive is not None:
            metrics["precision_positive"] = precision[self.positive]
            metrics["recall_positive"] = recall[self.positive]
            metrics["f1_positive"] = f1[self.positive]
        return metrics


class _Ranking:
    """ROC-AUC and average precision of one class in many resamples.

    A level is a score that an image of the class has; the highest level is the first. At each level
    the copies of these images are counted: those of the class (hits), others with a score down to
    this level and below the one before (misses), and others with exactly this score (ties).
    """

    def __init__(self, scores, is_class):
        levels = np.unique(-scores[is_class])
        level = np.searchsorted(levels, -scores)  # the first that an image reaches, if any
        self.hits = self._sums_by_level(level, is_class, len(levels))
        self.misses = self._sums_by_level(level, ~is_class & (level < len(levels)), len(levels))
        self.ties = self._sums_by_level(level, ~is_class & np.isin(-scores, levels), len(levels))
        self.inside = is_class.sum()
        self.outside = len(scores) - self.inside

    @staticmethod
    def _sums_by_level(level, chosen, levels):
        return _sums(level[chosen], np.flatnonzero(chosen), (levels, len(level)))

    def of(self, copies):
        """Return ROC-AUC and average precision, each `(resamples,)`."""
        hits = self.hits @ copies
        found = hits.cumsum(0)
        false = (self.misses @ copies).cumsum(0)
        below = self.outside - false + (self.ties @ copies) / 2
        return (
            (hits * below).sum(0) / (self.inside * self.outside),
            (hits * found / np.maximum(found + false, 1)).sum(0) / self.inside,
        )


def _sums(rows, columns, shape, values=None):
    """A matrix whose product with `copies` sums, for each row, over its columns."""
    values = np.ones(len(rows)) if values is None else values.astype("float64")
    return csr_array((values, (rows, columns)), shape=shape)
