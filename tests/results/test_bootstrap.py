"""Bootstrap: the vectorised formulas against scikit-learn's, and what the intervals cover."""

import time

import numpy as np
import pytest

from small_vit.errors import InputError
from small_vit.results.bootstrap import ResampledMetrics, bootstrap_intervals, resample
from small_vit.results.metrics import full_metrics

pytestmark = [pytest.mark.any_backend, pytest.mark.filterwarnings("error")]


def example(examples=60, classes=7, seed=0, decimals=8, strength=1.0):
    """Logits; with few decimals, many are equal."""
    generator = np.random.default_rng(seed)
    labels = np.sort(generator.integers(0, classes, examples))
    logits = generator.normal(size=(examples, classes))
    logits[np.arange(examples), labels] += strength
    return logits.round(decimals).astype("float32"), labels


def one_class_missing():
    logits, labels = example()
    return logits, np.where(labels == 6, 5, labels)


def one_class():
    logits, labels = example(classes=3)
    return logits, np.zeros_like(labels)


CASES = {
    "seven classes": (example(), None),
    "ties": (example(decimals=0), None),
    "all equal": ((np.zeros((30, 6), "float32"), np.arange(30) // 5), None),
    "a class missing": (one_class_missing(), None),
    "one class": (one_class(), None),
    "sure": (example(strength=100.0), None),
    "two classes": (example(classes=2), None),
    "first positive": (example(classes=2, decimals=1), 0),
    "second positive": (example(classes=2, decimals=0), 1),
    "single images": ((example(classes=8, examples=8)[0], np.arange(8)), None),
}


@pytest.mark.parametrize("case", CASES)
def test_formulas_equal_scikit_learns_on_the_repeated_images(case):
    (logits, labels), positive = CASES[case]
    (copies,) = resample(labels, 8, seed=1)

    metrics = ResampledMetrics(logits, labels, positive).of(copies)

    for index in range(8):
        repeated = np.repeat(np.arange(len(labels)), copies[:, index].astype(int))
        expected = full_metrics(logits[repeated], labels[repeated], positive)
        assert list(metrics) == list(expected)
        assert {name: values[index] for name, values in metrics.items()} == pytest.approx(
            expected, rel=1e-9, abs=1e-12
        )


def test_a_resample_keeps_the_size_of_each_class():
    _, labels = example(examples=50)

    (copies,) = resample(labels, 40, seed=0)

    assert copies.shape == (50, 40)
    for kind in range(7):
        assert (copies[labels == kind].sum(0) == (labels == kind).sum()).all()
    assert len(np.unique(copies, axis=1).T) == 40


def test_each_image_is_drawn_as_often_as_any_other():
    labels = np.repeat([0, 1], [3, 10])
    copies = np.concatenate(list(resample(labels, 20_000, seed=0)), axis=1)

    # A binomial count: of 3 or 10 draws, each with probability 1 / 3 or 1 / 10.
    members = np.bincount(labels)[labels]
    np.testing.assert_allclose(copies.mean(1), 1, atol=0.03)
    np.testing.assert_allclose(copies.var(1), 1 - 1 / members, atol=0.04)


def test_resamples_are_the_same_in_parts(monkeypatch):
    _, labels = example()
    whole = np.concatenate(list(resample(labels, 10, seed=3)), axis=1)
    monkeypatch.setattr("small_vit.results.bootstrap.COPIES_AT_ONCE", 200)

    parts = list(resample(labels, 10, seed=3))

    assert [part.shape[1] for part in parts] == [3, 3, 3, 1]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_the_seed_gives_these_resamples_on_every_machine():
    (copies,) = resample(np.array([0, 0, 0, 0, 1, 1, 1, 1]), 2, seed=0)

    assert copies.T.astype(int).tolist() == [[2, 1, 1, 0, 0, 0, 2, 2], [1, 0, 1, 2, 2, 0, 1, 1]]


@pytest.mark.parametrize("case", CASES)
def test_intervals_hold_the_measured_values(case):
    (logits, labels), positive = CASES[case]
    metrics = full_metrics(logits, labels, positive)

    intervals = bootstrap_intervals(logits, labels, positive, resamples=50)

    assert list(intervals) == [name for name in metrics if name != "calibration_error"]
    for name, (low, high) in intervals.items():
        assert type(low) is float and type(high) is float
        assert 0 <= low <= metrics[name] + 1e-12 and metrics[name] - 1e-12 <= high
        assert high <= 1 or name == "loss"


def test_intervals_depend_on_the_seed_and_not_on_the_order_of_the_classes():
    logits, labels = example()
    mixed = np.argsort(np.random.default_rng(0).permutation(labels), kind="stable")
    order = np.argsort(mixed)  # each class's images stay in their order

    first = bootstrap_intervals(logits, labels, resamples=100)

    assert bootstrap_intervals(logits[order], labels[order], resamples=100) == first
    assert bootstrap_intervals(logits, labels, resamples=100, seed=1) != first


def test_intervals_of_certain_answers_have_no_width():
    labels = np.arange(30) % 3
    intervals = bootstrap_intervals(100 * np.eye(3)[labels], labels, resamples=20)

    for name in ("accuracy", "f1", "roc_auc", "average_precision"):
        assert intervals[name] == pytest.approx([1, 1])


def test_most_intervals_cover_the_true_value_and_none_is_needlessly_wide():
    """Average precision, which few images of many classes measure too high, is covered less."""
    classes, images = 10, 10

    def draw(generator, labels):
        logits = generator.normal(size=(len(labels), classes))
        logits[np.arange(len(labels)), labels] += 1
        return logits, labels

    true = full_metrics(*draw(np.random.default_rng(0), np.arange(20_000) % classes))
    rates = {"accuracy": 0.9, "average_precision": 0.75, "loss": 0.9}
    found = {name: [] for name in rates}
    for seed in range(100):
        sample = draw(np.random.default_rng([1, seed]), np.arange(classes * images) % classes)
        intervals = bootstrap_intervals(*sample, resamples=200, seed=seed)
        for name in rates:
            found[name].append(intervals[name])

    for name, rate in rates.items():
        low, high = np.transpose(found[name])
        assert np.mean((low <= true[name]) & (true[name] <= high)) >= rate, name
    low, high = np.transpose(found["accuracy"])
    # That of a binomial count of 100 images; within classes it spreads a little less.
    width = 2 * 1.96 * np.sqrt(true["accuracy"] * (1 - true["accuracy"]) / 100)
    assert 0.85 * width < np.mean(high - low) < 1.05 * width


def test_hundreds_of_images_take_no_time():
    logits, labels = example(examples=400, classes=10)
    started = time.perf_counter()
    bootstrap_intervals(logits, labels)
    assert time.perf_counter() - started < 2


def test_bad_outputs_are_named():
    logits, labels = example()
    with pytest.raises(InputError, match="needs two classes"):
        bootstrap_intervals(logits, labels, positive=1)
