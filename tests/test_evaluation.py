"""Metrics against loops."""

import math

import keras
import numpy as np
import pytest

from layer_harness import normal
from small_vit.data import Split
from small_vit.results.metrics import basic_metrics, calibration_error, full_metrics
from small_vit.results.predictions import predict_logits


def example(examples=40, classes=7, seed=0):
    labels = np.random.default_rng(seed).integers(0, classes, examples)
    logits = normal((examples, classes), seed)
    logits[np.arange(examples), labels] += 0.8
    return logits, labels


def softmax(row):
    exponentials = [math.exp(value - max(row)) for value in row]
    return [value / sum(exponentials) for value in exponentials]


def best(row, count):
    return sorted(range(len(row)), key=lambda index: -row[index])[:count]


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
    logits, labels = example(classes=4)
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

    metrics = full_metrics(logits, labels)

    assert metrics == pytest.approx(
        {
            **basic_metrics(logits, labels),
            "precision": np.mean(precisions),
            "recall": np.mean(recalls),
            "f1": np.mean(scores),
            "calibration_error": calibration_error(logits, labels),
        }
    )


def test_a_class_nobody_predicts_counts_as_zero():
    logits = np.array([[2.0, 0.0, 0.0], [2.0, 0.0, 0.0]])

    metrics = full_metrics(logits, np.array([0, 1]))

    assert metrics["precision"] == pytest.approx(0.5 / 3)
    assert metrics["recall"] == pytest.approx(1 / 3)


def test_calibration_error():
    logits, labels = example(examples=500)
    confidences = [max(softmax(row)) for row in logits.tolist()]
    correct = [best(row, 1)[0] == label for row, label in zip(logits.tolist(), labels, strict=True)]

    expected = 0.0
    for index in range(15):
        members = [
            position
            for position, confidence in enumerate(confidences)
            if index / 15 < confidence <= (index + 1) / 15
        ]
        if members:
            accuracy = np.mean([correct[position] for position in members])
            confidence = np.mean([confidences[position] for position in members])
            expected += len(members) / 500 * abs(accuracy - confidence)

    assert expected > 0.01
    assert calibration_error(logits, labels) == pytest.approx(expected)


@pytest.mark.parametrize(("label", "error"), [(0, 0.0), (1, 1.0)])
def test_calibration_error_of_certainty(label, error):
    logits = np.array([[1000.0, 0.0]] * 3)

    assert calibration_error(logits, np.full(3, label)) == pytest.approx(error)


class FirstPixels(keras.Model):
    """Its logits are each image's first pixels."""

    def __init__(self):
        super().__init__()
        self.batch_sizes = set()

    def call(self, images):
        self.batch_sizes.add(images.shape[0])
        return images[:, 0, :, 0]


@pytest.mark.parametrize("part_bytes", [1, 10**6])
@pytest.mark.parametrize("examples", [1, 3, 4, 5, 8, 9])
def test_predict_pads_to_whole_batches_and_trims(examples, part_bytes, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (examples, 2, 3, 1), "uint8")
    model, split = FirstPixels(), Split(images, np.zeros(examples, "int32"))
    model.compile(run_eagerly=True)
    monkeypatch.setattr(Split.parts, "__defaults__", (part_bytes, 1))

    logits = predict_logits(model, split, batch_size=4)

    np.testing.assert_array_equal(logits, images[:, 0, :, 0])
    assert model.batch_sizes == {4}
