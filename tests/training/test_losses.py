"""Losses with class weights, against the formula that PyTorch documents."""

import keras
import numpy as np
import pytest
from scipy.special import log_softmax

from layer_harness import BACKEND, close, gradient, normal, to_numpy
from small_vit.errors import InputError
from small_vit.training.losses import CrossEntropy, FocalLoss, NegativeLogLikelihood

CLASSES = 4
WEIGHTS = [0.5, 2.0, 1.0, 3.0]
LOSSES = {
    "nll": NegativeLogLikelihood,
    "cross_entropy": CrossEntropy,
    "focal": lambda **kwargs: FocalLoss(1.5, **kwargs),
}


def class_losses(name, inputs):
    """The loss of each class if it were the target, in float64."""
    log_p = np.float64(inputs) if name == "nll" else log_softmax(np.float64(inputs), axis=-1)
    return -log_p * (1 - np.exp(log_p)) ** 1.5 if name == "focal" else -log_p


def reference(losses, labels, weights=None, ignore_index=None, smoothing=0.0, reduction="mean"):
    """PyTorch's documented formula, one label after the other."""
    weights = weights or [1.0] * CLASSES
    values, seen = np.zeros(labels.shape), 0.0
    for place, label in np.ndenumerate(labels):
        if label == ignore_index:
            continue
        smooth = sum(w * loss for w, loss in zip(weights, losses[place], strict=True)) / CLASSES
        values[place] = (1 - smoothing) * weights[label] * losses[place][label] + smoothing * smooth
        seen += weights[label]
    if reduction == "none":
        return values
    return values.sum() / seen if reduction == "mean" else values.sum()


def inputs_of(name, shape):
    inputs = normal((*shape, CLASSES))
    return log_softmax(inputs, axis=-1) if name == "nll" else inputs


def labels_of(shape):
    return np.random.default_rng(1).integers(CLASSES, size=shape).astype("int32")


@pytest.mark.parametrize("shape", [(6,), (2, 3, 2)])
@pytest.mark.parametrize("ignore_index", [None, 1, -100])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("name", LOSSES)
def test_equals_the_formula(name, weights, ignore_index, shape):
    inputs, labels = inputs_of(name, shape), labels_of(shape)
    if ignore_index == -100:
        labels[0] = ignore_index
    losses = class_losses(name, inputs)
    for reduction in ("mean", "sum", "none"):
        for smoothing in (0.0, 0.3):
            loss = LOSSES[name](
                class_weights=weights,
                ignore_index=ignore_index,
                label_smoothing=smoothing,
                reduction=reduction,
            )
            expected = reference(losses, labels, weights, ignore_index, smoothing, reduction)
            close(loss(labels, inputs), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("ignore_index", [None, 1])
def test_a_one_hot_target_is_its_label(ignore_index, smoothing):
    inputs, labels = normal((2, 3, CLASSES)), labels_of((2, 3))
    loss = CrossEntropy(WEIGHTS, ignore_index, smoothing)
    close(loss(np.eye(CLASSES, dtype="float32")[labels], inputs), loss(labels, inputs))


def test_a_mixed_target_has_the_weights_of_its_parts():
    inputs, first, second = normal((6, CLASSES)), labels_of(6), labels_of(6)[::-1]
    one_hot = np.eye(CLASSES, dtype="float32")
    mixed = CrossEntropy(WEIGHTS)(0.7 * one_hot[first] + 0.3 * one_hot[second], inputs)

    losses = class_losses("cross_entropy", inputs)
    total = 0.7 * reference(losses, first, WEIGHTS, reduction="sum")
    total += 0.3 * reference(losses, second, WEIGHTS, reduction="sum")
    weight = 0.7 * np.take(WEIGHTS, first).sum() + 0.3 * np.take(WEIGHTS, second).sum()
    close(mixed, total / weight)


def test_ignoring_a_class_leaves_out_its_part_of_a_mixed_target():
    inputs = normal((1, CLASSES))
    mixed = np.float32([[0.25, 0.75, 0, 0]])
    loss = CrossEntropy(ignore_index=1, reduction="sum")(mixed, inputs)
    close(loss, 0.25 * class_losses("cross_entropy", inputs)[0, 0])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("ours", [CrossEntropy(), FocalLoss(gamma=0)], ids=["plain", "focal"])
def test_without_weights_it_is_keras_own(ours, smoothing):
    keras_own = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    ours = type(ours).from_config({**ours.get_config(), "label_smoothing": smoothing})
    targets = np.random.default_rng(0).dirichlet(np.ones(CLASSES), 6).astype("float32")
    inputs, sample_weight = normal((6, CLASSES)), np.float32([1, 2, 0, 0.5, 1, 3])
    close(ours(targets, inputs), keras_own(targets, inputs))
    close(ours(targets, inputs, sample_weight), keras_own(targets, inputs, sample_weight))


def test_sample_weights_scale_the_sum_alone():
    inputs, labels = normal((6, CLASSES)), labels_of(6)
    sample_weight = np.float32([1, 2, 0, 0.5, 1, 3])
    each = reference(
        class_losses("cross_entropy", inputs), labels, WEIGHTS, ignore_index=1, reduction="none"
    )
    divisor = np.where(labels == 1, 0, np.take(WEIGHTS, labels)).sum()
    loss = CrossEntropy(WEIGHTS, ignore_index=1)
    close(loss(labels, inputs, sample_weight), (each * sample_weight).sum() / divisor)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_masked_examples_count_like_ignored_ones(reduction):
    inputs, labels = normal((2, 3, CLASSES)), labels_of((2, 3))
    mask = np.array([[True, False, True], [True, True, False]])

    class Masked(keras.layers.Layer):
        def compute_mask(self, inputs, previous=None):
            return keras.ops.convert_to_tensor(mask)

        def call(self, inputs):
            return 1.0 * inputs

        supports_masking = True

    loss = CrossEntropy(WEIGHTS, ignore_index=-1, reduction=reduction)
    close(loss(labels, Masked()(inputs)), loss(np.where(mask, labels, -1), inputs))


@pytest.mark.parametrize("name", LOSSES)
def test_without_any_target_the_mean_is_zero(name):
    inputs = inputs_of(name, (2,))
    loss = LOSSES[name](ignore_index=-1)
    assert float(loss(np.int32([-1, -1]), inputs)) == 0
    np.testing.assert_array_equal(gradient(lambda x: loss(np.int32([-1, -1]), x), inputs), 0)


@pytest.mark.parametrize("label", [-1, CLASSES])
def test_a_label_that_is_no_class_is_not_passed_over(label):
    loss = CrossEntropy(ignore_index=-100)(np.int32([0, label]), normal((2, CLASSES)))
    assert np.isnan(float(loss))


def test_an_impossible_class_that_is_no_target_costs_nothing():
    inputs = np.float32([[0, -np.inf, 0, 0]])
    close(CrossEntropy()(np.int32([0]), inputs), np.log(3))
    assert np.isinf(float(CrossEntropy()(np.int32([1]), inputs)))


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_is_that_of_finite_differences(name, smoothing):
    inputs, labels = inputs_of(name, (3,)), labels_of(3)
    loss = LOSSES[name](class_weights=WEIGHTS, label_smoothing=smoothing)
    expected = np.zeros(inputs.shape)
    for place in np.ndindex(inputs.shape):
        step = np.zeros(inputs.shape)
        step[place] = 1e-5
        above, below = (
            reference(class_losses(name, inputs + sign * step), labels, WEIGHTS, None, smoothing)
            for sign in (1, -1)
        )
        expected[place] = (above - below) / 2e-5
    close(gradient(lambda x: loss(labels, x), inputs), expected, 1e-4)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_focal_gradient_is_finite_where_an_example_is_certain(gamma):
    inputs = np.float32([[200, 0, 0, 0], [0, 200, 0, 0]])
    values = gradient(lambda x: FocalLoss(gamma)(np.int32([0, 0]), x), inputs)
    assert np.isfinite(values).all()


def test_under_mixed_precision_it_computes_in_float32():
    inputs = keras.ops.cast(normal((6, CLASSES)), "bfloat16")
    loss = CrossEntropy(WEIGHTS)(labels_of(6), inputs)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    close(loss, reference(class_losses("cross_entropy", to_numpy(inputs)), labels_of(6), WEIGHTS))


@pytest.mark.parametrize("loss_class", [NegativeLogLikelihood, CrossEntropy, FocalLoss])
def test_it_comes_back_from_its_config(loss_class):
    arguments = {
        "class_weights": WEIGHTS,
        "ignore_index": 2,
        "label_smoothing": 0.1,
        "reduction": "sum",
        "name": "mine",
        "dtype": "float16",
    }
    if loss_class is FocalLoss:
        arguments["gamma"] = 3.0
    saved = keras.losses.serialize(loss_class(**arguments))
    assert saved["registered_name"] == f"small_vit>{loss_class.__name__}"
    back = keras.losses.deserialize(saved)
    assert type(back) is loss_class
    assert back.get_config() == arguments


@pytest.mark.parametrize("shape", [(8,), (4, 3, 2)])
def test_it_trains_in_fit(shape):
    """The first epoch of one batch gives the loss of the initial model."""
    keras.utils.set_random_seed(0)
    x, labels = normal((*shape, 5)), labels_of(shape)
    model = keras.Sequential([keras.Input((*shape[1:], 5)), keras.layers.Dense(CLASSES)])
    logits = to_numpy(model(x))
    model.compile(
        keras.optimizers.SGD(0.5),
        CrossEntropy(WEIGHTS, label_smoothing=0.1),
        jit_compile=BACKEND != "torch",
    )
    losses = model.fit(x, labels, batch_size=shape[0], epochs=4, verbose=0).history["loss"]
    expected = reference(class_losses("cross_entropy", logits), labels, WEIGHTS, smoothing=0.1)
    np.testing.assert_allclose(losses[0], expected, rtol=1e-5)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reduction": "sum_over_batch_size"}, "reduction is one of"),
        ({"reduction": None}, "reduction is one of"),
        ({"label_smoothing": 1.1}, "label_smoothing must be 0 to 1"),
        ({"label_smoothing": -0.1}, "label_smoothing must be 0 to 1"),
        ({"class_weights": [1, -1]}, "class_weights must be finite"),
        ({"class_weights": [1, float("nan")]}, "class_weights must be finite"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    for loss_class in (NegativeLogLikelihood, CrossEntropy, FocalLoss):
        with pytest.raises(InputError, match=message):
            loss_class(**arguments)


def test_a_negative_gamma_is_refused():
    with pytest.raises(InputError, match="gamma must be at least 0"):
        FocalLoss(gamma=-1)


def test_weights_and_targets_must_fit_the_classes():
    inputs = normal((2, CLASSES))
    with pytest.raises(InputError, match="3 weights for 4 classes"):
        CrossEntropy([1, 2, 3])(np.int32([0, 1]), inputs)
    for shape in [(2, 3), (2, 1), (2, 1, CLASSES), ()]:
        with pytest.raises(InputError, match="y_true must be labels"):
            CrossEntropy()(np.zeros(shape, "float32"), inputs)
