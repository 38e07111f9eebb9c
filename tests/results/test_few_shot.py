"""Few-shot evaluation: the draws, the least squares, and what is chosen on which images."""

import keras
import numpy as np
import pytest
from sklearn.linear_model import Ridge

from layer_harness import logits_of, normal, to_numpy
from small_vit.data import Split
from small_vit.errors import InputError
from small_vit.models.registry import FAMILIES, build_classifier
from small_vit.results.few_shot import (
    PENALTIES,
    backbone_for,
    draw_shots,
    features_of,
    few_shot_accuracies,
    measure_draws,
    ridge_weights,
)
from tiny import FEATURES, tiny_classifier, tiny_config

CLASSES = 4


def made_up(of_each, features=6, noise=1.0, seed=0):
    """Features around a centre for each class, and labels; columns of unlike mean and spread."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(CLASSES, features))
    labels = np.tile(np.arange(CLASSES), of_each)
    values = centres[labels] + noise * generator.normal(size=(len(labels), features))
    return values * np.logspace(-2, 2, features) + 5.0, labels


# ---------------------------------------------------------------------------------- the draws


LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(3), [9, 20, 7]))
NAMES = ("a", "b", "c")


def test_a_draw_has_different_images_of_each_class():
    draws = draw_shots(LABELS, NAMES, most=7, draws=5, seed=1)
    assert draws.shape == (5, 3, 7)
    for draw in draws:
        assert len(np.unique(draw)) == draw.size
        for label, rows in enumerate(draw):
            assert (LABELS[rows] == label).all()
    assert len({tuple(draw[1]) for draw in draws}) == 5


def test_fewer_shots_are_part_of_more_and_fewer_draws_are_the_first():
    draws = draw_shots(LABELS, NAMES, most=7, draws=5, seed=1)
    np.testing.assert_array_equal(draw_shots(LABELS, NAMES, 3, 2, seed=1), draws[:2, :, :3])
    assert (draw_shots(LABELS, NAMES, 7, 5, seed=2) != draws).any()


def test_all_images_of_a_class_are_drawn_alike():
    rows = draw_shots(LABELS, NAMES, most=2, draws=2000, seed=0)[:, 1]
    counts = np.unique(rows, return_counts=True)[1]
    assert len(counts) == 20
    assert abs(counts - 200).max() < 5 * np.sqrt(200)


def test_a_class_with_too_few_images_is_named_with_its_count():
    with pytest.raises(InputError, match=r"--shots 8 .* Received: 7 of class c\. Take at most 7"):
        draw_shots(LABELS, NAMES, most=8, draws=1, seed=0)
    with pytest.raises(InputError, match=r"of each class\. Class d has none\.$"):
        draw_shots(LABELS, (*NAMES, "d"), most=1, draws=1, seed=0)


# ---------------------------------------------------------------------------------- least squares


@pytest.mark.parametrize("features", [3, 20, 50])  # 20 examples: either form, and its limit
def test_least_squares_are_those_of_scikit_learn_and_of_the_formula(features):
    values, labels = made_up(5, features)
    values = (values - values.mean(0)) / values.std(0)
    targets = 2.0 * np.eye(CLASSES)[labels] - 1.0
    for l2, weights in zip(PENALTIES, ridge_weights(values, targets, PENALTIES), strict=True):
        ridge = Ridge(alpha=l2, solver="cholesky").fit(values, targets)
        np.testing.assert_allclose(weights, ridge.coef_.T, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(ridge.intercept_, 2 / CLASSES - 1)
        slope = values.T @ (values @ weights - targets) + l2 * weights
        np.testing.assert_allclose(slope, 0, atol=1e-7)


@pytest.mark.parametrize("of_each", [1, 3, 12])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_accuracy_is_that_of_a_pipeline_of_scikit_learn(of_each, dtype):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    values, labels = made_up(of_each)
    images, true = made_up(200, seed=1)
    penalties = (0.01, 1.0, 1e5)
    accuracies = few_shot_accuracies(
        (values.astype(dtype), labels), (images.astype(dtype), true), penalties
    )
    targets = 2.0 * np.eye(CLASSES)[labels] - 1.0
    for accuracy, l2 in zip(accuracies, penalties, strict=True):
        ridge = make_pipeline(StandardScaler(), Ridge(alpha=l2)).fit(values, targets)
        expected = (ridge.predict(images).argmax(axis=1) == true).mean()
        assert accuracy == pytest.approx(expected, abs=0 if dtype == "float64" else 3e-3)


def test_scale_and_offset_of_a_feature_do_not_count():
    shots, images = made_up(5), made_up(50, seed=1)
    scale, offset = np.array([1, 3, 0.1, 7, 1e3, 2]), np.arange(6.0)
    changed = [(values * scale + offset, labels) for values, labels in (shots, images)]
    assert few_shot_accuracies(*changed, [1.0]) == few_shot_accuracies(shots, images, [1.0])


def test_a_feature_that_is_the_same_in_all_shots_does_no_harm():
    shots, images = made_up(5), made_up(50, seed=1)
    expected = few_shot_accuracies(shots, images, [1.0])
    for values, _ in (shots, images):
        values[:, 0] = 0.0
    assert 0.5 < few_shot_accuracies(shots, images, [1.0])[0] <= expected[0] + 0.1


# ---------------------------------------------------------------------------------- the choice


def test_l2_is_chosen_on_the_mean_over_draws_of_validation():
    images, validation, test = (
        made_up(40, 30, 2.0),
        made_up(50, 30, 2.0, 1),
        made_up(50, 30, 2.0, 2),
    )
    draws = [draw.ravel() for draw in draw_shots(images[1], "abcd", 5, 3, seed=0)]
    calls = []
    measured = measure_draws(images, draws, validation, test, lambda: calls.append(1))
    shots = [(images[0][rows], images[1][rows]) for rows in draws]
    table = np.array([few_shot_accuracies(each, validation, PENALTIES) for each in shots])
    best = table.mean(axis=0).argmax()
    assert table.mean(axis=0)[PENALTIES.index(measured.l2)] == table.mean(axis=0)[best]
    assert measured.validation == table[:, PENALTIES.index(measured.l2)].tolist()
    assert measured.accuracy == [
        few_shot_accuracies(each, test, [measured.l2])[0] for each in shots
    ]
    assert len(calls) == 2 * len(draws)


def test_of_equally_good_penalties_the_largest_is_chosen():
    images, draws = made_up(5, noise=1e-6), [np.arange(5 * CLASSES)]
    measured = measure_draws(images, draws, images, images)
    assert (measured.l2, measured.validation, measured.accuracy) == (PENALTIES[-1], [1.0], [1.0])


def test_the_test_images_have_no_say_in_the_choice():
    images, validation, test = made_up(20, noise=2.0), made_up(50, noise=2.0, seed=1), made_up(50)
    draws = [draw.ravel() for draw in draw_shots(images[1], "abcd", 3, 2, seed=0)]
    first = measure_draws(images, draws, validation, test)
    other = measure_draws(images, draws, validation, (test[0], (test[1] + 1) % CLASSES))
    assert (first.l2, first.validation) == (other.l2, other.validation)
    assert first.accuracy != other.accuracy


# ---------------------------------------------------------------------------------- features


@pytest.fixture(scope="module")
def grey_images():
    pixels = np.random.default_rng(0).integers(0, 256, (11, 8, 8, 1))
    return Split(pixels.astype("uint8"), np.arange(11, dtype="int32") % 3)


@pytest.mark.parametrize("kind", FAMILIES)
def test_features_are_the_input_of_the_head_batch_by_batch(kind, grey_images, tmp_path):
    model, done = build_classifier(tiny_config(kind, tmp_path), (8, 8, 1), 3), []
    head = model.get_layer("logits")
    head.set_weights([normal(each.shape) for each in head.weights])  # a pretrained one's are zero
    backbone = backbone_for(model, (8, 8, 1), "a run")
    features = features_of(backbone, grey_images, 4, done.append)
    assert (features.dtype, features.shape) == ("float32", (11, FEATURES[kind]))
    assert done == [4, 4, 3]
    weights, bias = head.get_weights()
    logits = to_numpy(logits_of(model, grey_images.read(slice(None))))
    np.testing.assert_allclose(features @ weights + bias, logits, rtol=1e-4, atol=1e-5)


def test_half_precision_gives_features_in_full():
    with_policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = tiny_classifier()
    finally:
        keras.config.set_dtype_policy(with_policy)
    images = Split(np.zeros((2, 8, 8, 1), "uint8"), np.zeros(2, "int32"))
    assert features_of(backbone_for(model, (8, 8, 1), "a run"), images).dtype == "float32"


def test_a_model_of_colour_images_takes_grey_ones(grey_images):
    model = tiny_classifier((8, 8, 3))
    colour = Split(np.repeat(grey_images.read(slice(None)), 3, axis=-1), grey_images.labels)
    np.testing.assert_allclose(
        features_of(backbone_for(model, (8, 8, 1), "a run"), grey_images),
        features_of(backbone_for(model, (8, 8, 3), "a run"), colour),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("shape", [(8, 8, 3), (9, 8, 1)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(InputError, match=r"runs/x takes images .* \(8, 8, 1\)\. Received: .*\d\)"):
        backbone_for(tiny_classifier(), shape, "runs/x")


def test_a_model_without_a_layer_of_features_is_refused():
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    with pytest.raises(InputError, match='runs/x has no layer "pooling"'):
        backbone_for(model, (8, 8, 1), "runs/x")
