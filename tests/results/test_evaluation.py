"""What is chosen on validation images, and what is measured on test images."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import f1_score

from small_vit.results.evaluation import evaluate
from small_vit.results.metrics import calibration_error, full_metrics

pytestmark = pytest.mark.any_backend


def made_up_logits(labels, classes, sharpness, seed):
    noise = np.random.default_rng(seed).normal(size=(len(labels), classes))
    return (sharpness * (noise + 2 * np.eye(classes)[labels])).astype("float32")


@pytest.fixture
def two():
    labels = np.repeat([0, 1], [70, 30]).astype("int32")
    return labels, made_up_logits(labels, 2, 9.0, 0), made_up_logits(labels, 2, 9.0, 1)


def test_a_plain_evaluation_has_the_metrics_and_their_intervals():
    labels = np.arange(60, dtype="int32") % 3
    logits = made_up_logits(labels, 3, 1.0, 0)
    measured = evaluate(logits, labels)
    assert measured.metrics == full_metrics(logits, labels)
    assert measured.intervals.keys() == measured.metrics.keys() - {"calibration_error"}
    np.testing.assert_array_equal(measured.logits, logits)


def test_calibration_is_fitted_on_validation_images_and_changes_no_class(two):
    labels, test, validation = two
    measured = evaluate(test, labels, held_out=(validation, labels), calibrate=True)
    before = calibration_error(test, labels)
    assert measured.metrics["calibration_error_before"] == before
    assert measured.metrics["calibration_error"] < before
    assert measured.metrics["temperature"] > 1  # the logits are too sharp
    np.testing.assert_allclose(measured.logits * measured.metrics["temperature"], test, rtol=1e-5)
    assert measured.metrics["accuracy"] == full_metrics(test, labels)["accuracy"]


def test_the_threshold_is_chosen_on_validation_images_alone(two):
    labels, test, validation = two
    held_out = validation, labels
    measured = evaluate(test, labels, positive=1, held_out=held_out).metrics
    other = evaluate(-test, labels, positive=1, held_out=held_out).metrics
    assert measured["threshold"] == other["threshold"]
    probabilities = softmax(test.astype("float64"), axis=1)[:, 1]
    expected = f1_score(labels, probabilities >= measured["threshold"])
    assert measured["f1_at_threshold"] == pytest.approx(expected)


def test_without_validation_images_no_threshold_is_chosen(two):
    labels, test, _ = two
    assert "threshold" not in evaluate(test, labels, positive=1).metrics
