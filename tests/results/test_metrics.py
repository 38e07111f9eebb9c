"""Metrics against loops, and against scikit-learn's averages."""

import json
import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from small_vit.errors import InputError
from small_vit.results.bootstrap import bootstrap_intervals
from small_vit.results.metrics import (
    basic_metrics,
    calibration_error,
    confusion,
    full_metrics,
    per_class,
)
from small_vit.results.threshold import choose_threshold, metrics_at

pytestmark = [pytest.mark.any_backend, pytest.mark.filterwarnings("error")]


def example(examples=40, classes=7, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, examples)
    logits = generator.normal(size=(examples, classes)).astype("float32")
    logits[np.arange(examples), labels] += 0.8
    return logits, labels


def softmax(row):
    exponentials = [math.exp(value - max(row)) for value in row]
    return [value / sum(exponentials) for value in exponentials]


def best(row, count):
    return sorted(range(len(row)), key=lambda index: -row[index])[:count]


def roc_auc(scores, is_class):
    """How often an image of the class has a higher score than another image; a tie is half."""
    inside, outside = scores[is_class], scores[~is_class]
    return np.mean([(one > outside).mean() + (one == outside).mean() / 2 for one in inside])


def average_precision(scores, is_class):
    """Precision among the images that score at least as high, mean over the class's images."""
    return np.mean([is_class[scores >= score].mean() for score in scores[is_class]])


@pytest.mark.parametrize("classes", [3, 5, 6, 20])
def test_basic_metrics(classes):
    logits, labels = example(classes=classes)
    rows = list(zip(logits.tolist(), labels.tolist(), strict=True))

    metrics = basic_metrics(logits, labels)

    assert metrics == pytest.approx(
        {
            "loss": np.mean([-math.log(softmax(row)[label]) for row, label in rows]),
            "accuracy": np.mean([label in best(row, 1) for row, label in rows]),
            "top5_accuracy": np.mean([label in best(row, 5) for row, label in rows]),
        }
    )


def test_loss_survives_huge_logits():
    logits = np.array([[1e4, 0.0], [1e4, 0.0]], "float32")

    assert basic_metrics(logits, np.array([0, 1]))["loss"] == pytest.approx(5e3)


def test_full_metrics():
    logits, labels = example(examples=60, classes=4)
    probabilities = np.array([softmax(row) for row in logits.tolist()])
    predictions = [best(row, 1)[0] for row in logits.tolist()]
    precisions, recalls, scores = [], [], []
    for kind in range(4):
        pairs = zip(predictions, labels, strict=True)
        hits = sum(guess == label == kind for guess, label in pairs)
        precision = hits / max(1, predictions.count(kind))
        recall = hits / max(1, labels.tolist().count(kind))
        precisions.append(precision)
        recalls.append(recall)
        scores.append(2 * precision * recall / (precision + recall) if hits else 0.0)
    share = np.bincount(labels) / 60

    metrics = full_metrics(logits, labels)

    assert metrics == pytest.approx(
        {
            **basic_metrics(logits, labels),
            "precision": np.mean(precisions),
            "recall": np.mean(recalls),
            "f1": np.mean(scores),
            "calibration_error": calibration_error(logits, labels),
            "balanced_accuracy": np.mean(recalls),
            "precision_weighted": share @ precisions,
            "recall_weighted": share @ recalls,
            "f1_weighted": share @ scores,
            "roc_auc": np.mean(
                [roc_auc(probabilities[:, kind], labels == kind) for kind in range(4)]
            ),
            "average_precision": np.mean(
                [average_precision(probabilities[:, kind], labels == kind) for kind in range(4)]
            ),
        }
    )
    assert all(type(value) is float for value in metrics.values())


@pytest.mark.parametrize("average", ["macro", "weighted", "micro"])
def test_averages_are_scikit_learns(average):
    logits, labels = example(examples=50, seed=1)
    labels[labels == 3] = 2
    expected = sklearn_metrics.precision_recall_fscore_support(
        labels, logits.argmax(-1), labels=range(7), average=average, zero_division=0
    )[:3]

    metrics = full_metrics(logits, labels)

    ending = {"macro": "", "weighted": "_weighted", "micro": None}[average]
    names = [f"{name}{ending}" for name in ("precision", "recall", "f1")]
    if average == "micro":
        names = ["accuracy"] * 3
    assert [metrics[name] for name in names] == pytest.approx(expected, abs=1e-15)
    assert metrics["recall_weighted"] == pytest.approx(metrics["accuracy"])


@pytest.mark.parametrize("positive", [0, 1])
def test_two_classes_with_a_positive_one(positive):
    logits, labels = example(classes=2, seed=2)
    predictions = logits.argmax(-1)
    scores = (logits[:, positive] - logits[:, 1 - positive]).astype("float64")

    metrics = full_metrics(logits, labels, positive)

    common = {"pos_label": positive}
    assert metrics["precision_positive"] == pytest.approx(
        sklearn_metrics.precision_score(labels, predictions, **common)
    )
    assert metrics["recall_positive"] == pytest.approx(
        sklearn_metrics.recall_score(labels, predictions, **common)
    )
    assert metrics["f1_positive"] == pytest.approx(
        sklearn_metrics.f1_score(labels, predictions, **common)
    )
    assert metrics["roc_auc"] == pytest.approx(roc_auc(scores, labels == positive))
    assert metrics["average_precision"] == pytest.approx(
        average_precision(scores, labels == positive)
    )
    without = full_metrics(logits, labels)
    assert without["roc_auc"] == pytest.approx(metrics["roc_auc"])
    assert not [name for name in without if name.endswith("_positive")]


def test_a_class_nobody_predicts_counts_as_zero():
    logits = np.array([[2.0, 0.0, 0.0], [2.0, 0.0, 0.0]])

    metrics = full_metrics(logits, np.array([0, 1]))

    assert metrics["precision"] == pytest.approx(0.5 / 2)  # the third class has no image either
    assert metrics["recall"] == pytest.approx(1 / 2)


def test_a_class_without_images_counts_only_in_macro_means():
    logits, labels = example(classes=4, seed=3)
    labels[labels == 3] = 0

    metrics = full_metrics(logits, labels)

    recalls = [(logits.argmax(-1)[labels == kind] == kind).mean() for kind in range(3)]
    assert metrics["recall"] == pytest.approx(sum(recalls) / 4)
    assert metrics["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    probabilities = np.apply_along_axis(softmax, 1, logits.astype("float64"))
    assert metrics["roc_auc"] == pytest.approx(
        np.mean([roc_auc(probabilities[:, kind], labels == kind) for kind in range(3)])
    )


def test_classes_that_are_neither_there_nor_predicted_do_not_count():
    """As for a model of fifty classes on new images of four."""
    logits, labels = example(classes=4, seed=3)
    wide = np.full((len(logits), 50), -30.0)
    wide[:, [3, 10, 20, 49]] = logits
    there = np.array([3, 10, 20, 49])[labels]
    for few, many in (
        (full_metrics(logits, labels), full_metrics(wide, there)),
        (bootstrap_intervals(logits, labels), bootstrap_intervals(wide, there)),
    ):
        for name in ("precision", "recall", "f1", "balanced_accuracy", "f1_weighted"):
            assert many[name] == pytest.approx(few[name])


def test_images_of_one_class_have_no_ranking():
    logits, _ = example(classes=2)
    labels = np.ones(len(logits), int)

    for positive in (None, 0, 1):
        metrics = full_metrics(logits, labels, positive)
        assert "roc_auc" not in metrics and "average_precision" not in metrics
        assert np.isfinite(list(metrics.values())).all()


def test_per_class():
    logits, labels = example(examples=50, classes=4, seed=4)
    labels[labels == 3] = 0
    predictions = logits.argmax(-1)
    probabilities = np.apply_along_axis(softmax, 1, logits.astype("float64"))

    rows = per_class(logits, labels, ("ant", "bee", "cat", "dog"))

    assert [row["name"] for row in rows] == ["ant", "bee", "cat", "dog"]
    assert [row["images"] for row in rows] == np.bincount(labels, minlength=4).tolist()
    for kind, row in enumerate(rows[:3]):
        is_class, predicted = labels == kind, predictions == kind
        assert row["precision"] == pytest.approx(is_class[predicted].mean())
        assert row["recall"] == pytest.approx(predicted[is_class].mean())
        hits = (is_class & predicted).sum()
        assert row["f1"] == pytest.approx(2 * hits / (is_class.sum() + predicted.sum()))
        assert row["roc_auc"] == pytest.approx(roc_auc(probabilities[:, kind], is_class))
        assert row["average_precision"] == pytest.approx(
            average_precision(probabilities[:, kind], is_class)
        )
    assert rows[3] == {
        "name": "dog",
        "images": 0,
        "precision": 0.0,
        "recall": 0.0,
        "f1": 0.0,
        "roc_auc": None,
        "average_precision": None,
    }
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows


def test_confusion():
    logits = np.eye(3)[[0, 1, 1, 0]]

    counts = confusion(logits, np.array([0, 0, 1, 1]))

    assert counts.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("logits", "labels", "positive", "message"),
    [
        (np.zeros((0, 3)), np.zeros(0, int), None, "at least one image"),
        (np.zeros((4, 3)), np.zeros(3, int), None, r"\(4, 3\) and \(3,\)"),
        (np.zeros(4), np.zeros(4, int), None, r"\(4,\) and \(4,\)"),
        (np.zeros((2, 3)), np.array([0, 3]), None, "from 0 to 2.*Received: 0 to 3"),
        (np.zeros((2, 3)), np.array([-1, 0]), None, "from 0 to 2.*Received: -1 to 0"),
        (np.array([[0.0, np.nan], [0, 1]]), np.array([0, 1]), None, "1 of 2 images.*not finite"),
        (np.zeros((2, 2)), np.array([0, 1]), 2, "positive must be 0 or 1.*2"),
        (np.zeros((2, 3)), np.array([0, 1]), 1, "needs two classes.*3 classes"),
    ],
)
def test_bad_outputs(logits, labels, positive, message):
    with pytest.raises(InputError, match=message):
        full_metrics(logits, labels, positive)


def threshold_example(seed, examples=60, decimals=2):
    """Probabilities with many ties."""
    generator = np.random.default_rng(seed)
    is_positive = generator.random(examples) < 0.3
    logits = generator.normal(size=examples) + 1.5 * is_positive - 1
    return np.round(1 / (1 + np.exp(-logits)), decimals), is_positive


def f1_by_counting(threshold, probabilities, is_positive):
    predicted = probabilities >= threshold
    return 2 * (predicted & is_positive).sum() / (predicted.sum() + is_positive.sum())


@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_has_the_highest_f1(seed):
    probabilities, is_positive = threshold_example(seed)
    f1 = [f1_by_counting(step / 1000, probabilities, is_positive) for step in range(1001)]

    threshold = choose_threshold(probabilities, is_positive)

    assert f1_by_counting(threshold, probabilities, is_positive) == pytest.approx(max(f1))
    assert metrics_at(threshold, probabilities, is_positive)["f1_at_threshold"] == pytest.approx(
        max(f1)
    )
    # In the middle between two neighbouring probabilities.
    low = probabilities[probabilities < threshold].max(initial=0)
    high = probabilities[probabilities >= threshold].min()
    assert threshold == pytest.approx((low + high) / 2)


def test_of_equally_good_thresholds_the_widest_gap_is_taken():
    # F1 is 2/3 above 0.8 (1 of 2 found, none wrong) and above 0.1 (2 found, 2 wrong).
    probabilities = np.array([0.9, 0.8, 0.7, 0.5, 0.1])
    is_positive = np.array([True, False, False, True, False])

    assert choose_threshold(probabilities, is_positive) == pytest.approx(0.3)


def test_the_threshold_separates_neighbouring_floats():
    first = np.nextafter(1, 0)
    second = np.nextafter(first, 0)

    assert choose_threshold(np.array([first, 1.0]), np.array([False, True])) == 1
    assert choose_threshold(np.array([second, first]), np.array([False, True])) == first


def test_a_threshold_needs_a_positive_image():
    with pytest.raises(InputError, match="none of the 3 validation images"):
        choose_threshold(np.array([0.1, 0.2, 0.3]), np.zeros(3, bool))
    assert choose_threshold(np.array([0.4, 0.8]), np.ones(2, bool)) == pytest.approx(0.2)


def test_metrics_at_a_threshold():
    probabilities = np.array([0.9, 0.5, 0.4, 0.2])
    is_positive = np.array([True, False, True, False])

    assert metrics_at(0.5, probabilities, is_positive) == {
        "accuracy_at_threshold": 0.5,
        "precision_at_threshold": 0.5,
        "recall_at_threshold": 0.5,
        "f1_at_threshold": 0.5,
    }
    assert metrics_at(0.95, probabilities, is_positive) == {
        "accuracy_at_threshold": 0.5,
        "precision_at_threshold": 0.0,
        "recall_at_threshold": 0.0,
        "f1_at_threshold": 0.0,
    }
