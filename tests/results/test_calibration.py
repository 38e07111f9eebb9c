"""Calibration against loops and a grid search."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from small_vit.errors import InputError
from small_vit.results.calibration import fit_temperature, reliability
from small_vit.results.metrics import calibration_error

pytestmark = [pytest.mark.any_backend, pytest.mark.filterwarnings("error")]


def example(examples=500, classes=7, scale=1.0, seed=0):
    """Logits, and labels drawn with their probabilities: calibrated, but for the scale."""
    generator = np.random.default_rng(seed)
    logits = 2 * generator.normal(size=(examples, classes))
    cumulative = softmax(logits, axis=-1).cumsum(-1)
    labels = (generator.random((examples, 1)) > cumulative[:, :-1]).sum(-1)
    return (scale * logits).astype("float32"), labels


def loop_bins(logits, labels, bins):
    """Confidences and hits of the images in each bin, which is open on the left."""
    members = [([], []) for _ in range(bins)]
    for row, label in zip(softmax(logits.astype("float64"), axis=-1), labels, strict=True):
        for index in range(bins):
            if index / bins < row.max() <= (index + 1) / bins:
                members[index][0].append(row.max())
                members[index][1].append(row.argmax() == label)
    return members


@pytest.mark.parametrize("scale", [0.5, 1, 3])
def test_calibration_error(scale):
    logits, labels = example(scale=scale)
    members = loop_bins(logits, labels, 15)
    expected = sum(
        len(confidences) / 500 * abs(np.mean(hits) - np.mean(confidences))
        for confidences, hits in members
        if confidences
    )

    assert expected > 0.01
    assert calibration_error(logits, labels) == pytest.approx(expected)


@pytest.mark.parametrize(("label", "error"), [(0, 0.0), (1, 1.0)])
def test_calibration_error_of_certainty(label, error):
    logits = np.array([[1000.0, 0.0]] * 3)

    assert calibration_error(logits, np.full(3, label)) == pytest.approx(error)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_reliability(bins):
    logits, labels = example()
    members = loop_bins(logits, labels, bins)

    confidence, accuracy, count = reliability(logits, labels, bins)

    assert count.tolist() == [len(confidences) for confidences, _ in members]
    for index, (confidences, hits) in enumerate(members):
        expected = [np.mean(confidences), np.mean(hits)] if confidences else [np.nan, np.nan]
        assert [confidence[index], accuracy[index]] == pytest.approx(expected, nan_ok=True)


def test_reliability_gives_the_calibration_error():
    logits, labels = example(scale=2)
    confidence, accuracy, count = reliability(logits, labels)
    full = count > 0

    gaps = np.abs(accuracy - confidence)[full]
    assert (count[full] * gaps).sum() / len(labels) == pytest.approx(
        calibration_error(logits, labels)
    )


@pytest.mark.parametrize("bins", [0, -3])
def test_reliability_needs_a_bin(bins):
    with pytest.raises(InputError, match=f"bins must be at least 1. Received: {bins}"):
        reliability(*example(), bins)


@pytest.mark.parametrize("scale", [0.4, 1, 2, 6])
@pytest.mark.parametrize("classes", [2, 7])
def test_temperature_is_the_best_of_a_grid(scale, classes):
    logits, labels = example(2000, classes, scale)
    grid = np.geomspace(0.25, 10, 400)
    rows = np.arange(len(labels))
    losses = [
        -log_softmax(logits.astype("float64") / temperature, axis=-1)[rows, labels].mean()
        for temperature in grid
    ]
    step = grid[1] / grid[0]

    temperature = fit_temperature(logits, labels)

    best = grid[int(np.argmin(losses))]
    assert best / step <= temperature <= best * step
    assert temperature == pytest.approx(scale, rel=0.2)


def test_temperature_follows_the_scale_and_changes_no_class():
    logits, labels = example(scale=1.5, seed=1)
    temperature = fit_temperature(logits, labels)

    assert fit_temperature(4 * logits, labels) == pytest.approx(4 * temperature)
    assert fit_temperature(logits + 100, labels) == pytest.approx(temperature, rel=1e-4)
    np.testing.assert_array_equal((logits / temperature).argmax(-1), logits.argmax(-1))


def test_temperature_improves_the_calibration_of_other_images():
    temperature = fit_temperature(*example(scale=3, seed=2))
    logits, labels = example(scale=3, seed=3)

    assert calibration_error(logits / temperature, labels) < calibration_error(logits, labels) / 2


@pytest.mark.parametrize("margin", [1e-3, 1.0, 1e4])
def test_temperature_is_bounded(margin):
    right = margin * np.eye(3, dtype="float32")
    labels = np.arange(3)

    assert fit_temperature(right, labels) == 0.25
    assert fit_temperature(-right, labels) == 10
    # As often right as by chance.
    assert fit_temperature(margin * np.eye(2), np.array([0, 0])) == 10


def test_temperature_of_broken_logits():
    with pytest.raises(InputError, match="not finite"):
        fit_temperature(np.full((2, 2), np.nan), np.array([0, 1]))
