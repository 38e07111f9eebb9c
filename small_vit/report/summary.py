"""The first lines of a report: the result, and what it does and does not show."""

import numpy as np
from scipy.special import softmax
from scipy.stats import binomtest

from small_vit.data.folder.dataset import FolderDataset
from small_vit.report import findings
from small_vit.report.data_section import copies_in_test
from small_vit.report.markdown import join
from small_vit.results.metrics import confusion


def summary(config, result, logits, dataset, history):
    """Return the Markdown that says what a run's numbers show.

    Args:
        config: The run's `ExperimentConfig`.
        result: Its `Result`.
        logits: `(examples, classes)`, on the test images.
        dataset: Its `Dataset`.
        history: Its epochs, a list of dicts.
    """
    accuracy, images = result.metrics["accuracy"], len(dataset.test)
    interval = accuracy_interval(accuracy, images, result.intervals.get("accuracy"))
    share, name = _commonest(dataset)
    confidence = float(softmax(logits.astype("float64"), axis=-1).max(axis=-1).mean())
    cautions = [
        findings.wide_interval(interval, images),
        findings.class_with_most_errors(
            confusion(logits, dataset.test.labels), dataset.class_names
        ),
        findings.confidence_differs(
            confidence, accuracy, interval, calibrated="temperature" in result.metrics
        ),
    ]
    if result.validation:
        validation = result.validation["accuracy"]
        if not result.best_on_test:  # There validation is on the test set.
            cautions.append(findings.validation_differs(validation, interval))
        tested = history[(result.kept_epoch or len(history)) - 1]
        cautions.append(findings.overfitted(tested["accuracy"], validation))
    if isinstance(dataset, FolderDataset):
        cautions.append(findings.copies_across_splits(copies_in_test(dataset), images))
    return join(
        f"{findings.accuracy_on_test(accuracy, interval, images)} "
        f"{findings.guessing(share, name, interval)}",
        "\n".join(f"- {caution}" for caution in cautions if caution),
        f"{_test_set(result)}{_averages(config)}",
    )


def accuracy_interval(accuracy, images, bootstrapped=None):
    """Return the 95 % interval of an accuracy: Wilson's, and all of the bootstrap's.

    A bootstrap hardly varies where almost every image is classified correctly.

    Args:
        accuracy: Of 1.
        images: Number of test images.
        bootstrapped: `(low, high)`. Default: there is none.
    """
    found = binomtest(round(accuracy * images), images).proportion_ci(0.95, method="wilson")
    low, high = bootstrapped or (found.low, found.high)
    return min(float(found.low), low), max(float(found.high), high)


def _commonest(dataset):
    """The commonest class in training: its part of the test images, and its name.

    Of several, it is the one with the most test images, and has no name.
    """
    counts = np.bincount(dataset.train.labels, minlength=dataset.num_classes)
    shares = np.bincount(dataset.test.labels, minlength=dataset.num_classes) / len(dataset.test)
    commonest = np.flatnonzero(counts == counts.max())
    name = dataset.class_names[commonest[0]] if len(commonest) == 1 else None
    return float(shares[commonest].max()), name


def _test_set(result):
    if result.best_on_test:
        best = result.best_on_test
        return (
            "Validation is on the test set. The best epoch's accuracy there, "
            f"{best['accuracy']:.2%} (top-5 {best['top5_accuracy']:.2%}), was chosen on the test "
            "set itself."
        )
    if result.kept_epoch is not None:
        return (
            "The test set was used once, after training, with the weights of epoch "
            f"{result.kept_epoch}, the best on validation."
        )
    return "The test set was used once, after the last epoch."


def _averages(config):
    if not config.train.averages_weights:
        return ""
    return " The test is of the averaged weights, validation of the weights as they were trained."
