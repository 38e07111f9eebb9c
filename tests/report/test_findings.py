"""What a report says of the numbers, and from where on it says it."""

import numpy as np
import pytest

from small_vit.report import findings

pytestmark = pytest.mark.any_backend


def test_the_accuracy_is_told_with_its_interval_and_images():
    told = findings.accuracy_on_test(0.9, (0.85, 0.94), 1200)
    assert told == (
        "**90.0%** of 1,200 test images are classified correctly (95 % interval 85.0% to 94.0%)."
    )


def test_guessing_is_told_and_compared():
    told = findings.guessing(0.4, "a_b", (0.41, 0.6))
    assert told == (
        "Naming a_b, the commonest class in training, every time would be right for 40.0%."
    )
    assert "does not show that the model is better" in findings.guessing(0.4, None, (0.4, 0.6))
    assert findings.guessing(0.1, None, (0.4, 0.6)).startswith("Naming the same class every time")


@pytest.mark.parametrize(("high", "told"), [(0.8499, False), (0.8501, True)])
def test_an_interval_wider_than_five_points_is_told(high, told):
    sentence = findings.wide_interval((0.8, high), 65)
    assert (sentence is not None) == told
    if told:
        assert "65 images" in sentence and "5.0 points" in sentence


def test_the_class_with_more_than_half_of_the_errors_is_named():
    counts = np.array([[20, 4, 2], [1, 9, 2], [3, 0, 5]])  # 6 of 12 errors are of the first
    names = ("a", "b*", "c")
    assert findings.class_with_most_errors(counts, names) is None
    counts[0, 1] += 1
    assert findings.class_with_most_errors(counts, names) == (
        r"One class has most errors: 7 of 13 are images of a, most often taken for b\* (5)."
    )


def test_few_errors_are_in_no_class():
    counts = np.array([[9, 4, 0], [0, 9, 0], [0, 0, 9]])
    assert findings.class_with_most_errors(counts, "abc") is None
    counts[0, 1] = 5
    assert "5 of 5" in findings.class_with_most_errors(counts, "abc")


def test_of_two_classes_one_always_has_half_of_the_errors():
    names = ("fire", "normal")
    assert findings.class_with_most_errors(np.array([[9, 6], [2, 90]]), names) is None
    told = findings.class_with_most_errors(np.array([[9, 7], [2, 90]]), names)
    assert told == "One class has most errors: 7 of 9 are images of fire, taken for normal."


@pytest.mark.parametrize(
    ("validation", "side"), [(0.8, None), (0.9, None), (0.79, "below"), (0.91, "above")]
)
def test_validation_outside_the_tests_interval_is_told(validation, side):
    told = findings.validation_differs(validation, (0.8, 0.9))
    assert told is None if side is None else f"{validation:.1%} on validation is {side}" in told


@pytest.mark.parametrize(("training", "told"), [(0.84, False), (0.86, True), (0.5, False)])
def test_training_far_above_validation_is_told(training, told):
    sentence = findings.overfitted(training, 0.75)
    assert (sentence is not None) == told
    assert not told or "86.0%, is 11.0 points above" in sentence


@pytest.mark.parametrize(
    ("confidence", "accuracy", "interval", "kind"),
    [
        (0.84, 0.8, (0.79, 0.81), "over-confident"),
        (0.76, 0.8, (0.79, 0.81), "under-confident"),
        (0.82, 0.8, (0.79, 0.81), None),  # less than three points
        (0.89, 0.8, (0.7, 0.9), None),  # within the interval
    ],
)
def test_confidence_that_differs_from_the_accuracy_is_told(confidence, accuracy, interval, kind):
    for calibrated in (False, True):
        told = findings.confidence_differs(confidence, accuracy, interval, calibrated)
        assert (told is None) == (kind is None)
        assert told is None or f"The model is {kind}" in told
        assert told is None or ("--calibrate" in told) != calibrated


def test_copies_across_splits_are_told():
    assert findings.copies_across_splits(0, 60) is None
    assert "3 of 60 test images have a copy" in findings.copies_across_splits(3, 60)
