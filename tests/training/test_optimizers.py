"""AdamW's two decay rules."""

import json

import keras
import numpy as np
import pytest

from layer_harness import close, normal, randomize, to_numpy
from small_vit import AdamW, WarmUpCosine
from tiny import tiny_classifier

STEPS = 10


def gradients():
    return normal((STEPS, 4, 3), seed=1)


def trajectory(optimizer):
    """The variable after each of ten steps with given gradients."""
    variable = keras.Variable(normal((4, 3)))
    values = []
    for gradient in gradients():
        optimizer.apply([gradient], [variable])
        values.append(to_numpy(variable))
    return np.array(values)


def tensorflow_addons(rate, weight_decay):
    """The same by the rule of `tfa.optimizers.AdamW`; `rate` maps the step to a learning rate."""
    variable = normal((4, 3)).astype("float64")
    first, second = np.zeros((4, 3)), np.zeros((4, 3))
    values = []
    for step, gradient in enumerate(gradients()):
        variable = variable - weight_decay * variable
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        corrected = rate(step) * np.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
        variable = variable - corrected * first / (np.sqrt(second) + 1e-7)
        values.append(variable)
    return np.array(values)


def test_decoupled_is_tensorflow_addons():
    values = trajectory(AdamW(0.01, weight_decay=0.02, decay_rule="decoupled"))

    close(values, tensorflow_addons(lambda step: 0.01, 0.02))


def test_decoupled_decay_stays_fixed_under_a_schedule():
    schedule = WarmUpCosine(0.1, STEPS, 0.0, 3)

    values = trajectory(AdamW(schedule, weight_decay=0.02, decay_rule="decoupled"))

    close(values, tensorflow_addons(lambda step: float(to_numpy(schedule(step))), 0.02))


@pytest.mark.parametrize("schedule", [None, WarmUpCosine(0.1, STEPS, 0.0, 3)])
def test_scaled_is_keras(schedule):
    rate = schedule or 0.01

    values = trajectory(AdamW(rate, weight_decay=0.5, decay_rule="scaled"))

    close(values, trajectory(keras.optimizers.AdamW(rate, weight_decay=0.5)), 1e-6)


def test_the_examples_decay_is_a_thousand_times_the_same_number_in_keras():
    decoupled = trajectory(AdamW(1e-3, weight_decay=1e-4, decay_rule="decoupled"))
    same = trajectory(keras.optimizers.AdamW(1e-3, weight_decay=0.1))
    ported = trajectory(keras.optimizers.AdamW(1e-3, weight_decay=1e-4))

    close(decoupled, same, 1e-6)
    assert np.abs(decoupled - ported).max() > 1e-4


KINDS = {
    "bias": ("/bias",),
    "norm": ("/gamma", "/beta"),
    "temperature": ("/temperature",),
    "position": ("/position_embedding", "/class_token"),
}


@pytest.mark.parametrize("rule", ["decoupled", "scaled"])
@pytest.mark.parametrize(
    "excluded",
    [
        pytest.param((), id="none"),
        *(pytest.param((kind,), id=kind) for kind in KINDS),
        pytest.param(tuple(KINDS), id="all"),
    ],
)
def test_excluded_kinds_alone_do_not_decay(excluded, rule):
    # As few different shapes as it goes: JAX compiles the update for each.
    fields = {"patch_size": (2, 4), "shifts": "none", "mlp_ratio": 1.0, "pooling": "class_token"}
    model = tiny_classifier(num_classes=8, **fields)
    variables = randomize(model).trainable_variables
    before = [to_numpy(variable) for variable in variables]
    optimizer = AdamW(0.1, weight_decay=0.5, decay_rule=rule, decay_exclude=excluded)

    optimizer.apply([np.zeros(each.shape, "float32") for each in variables], variables)

    rate = 0.5 if rule == "decoupled" else 0.05
    names = tuple(name for kind in excluded for name in KINDS[kind])
    left_alone = [variable.path.endswith(names) for variable in variables]
    for variable, start, kept in zip(variables, before, left_alone, strict=True):
        close(variable, start if kept else start * (1 - rate), 1e-6)
    assert any(left_alone) == bool(excluded)


def small_model():
    """Four variables, none of them zero: kernel, bias, gamma, beta."""
    layers = [keras.layers.Dense(3), keras.layers.LayerNormalization()]
    return randomize(keras.Sequential([keras.Input((3,)), *layers]))


def not_decayed(optimizer, variables):
    """Names of the variables that a step with gradients of zero leaves as they are."""
    before = [to_numpy(variable) for variable in variables]
    optimizer.apply([np.zeros(each.shape, "float32") for each in variables], variables)
    steps = zip(variables, before, strict=True)
    return {variable.name for variable, start in steps if (to_numpy(variable) == start).all()}


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize(
    ("names", "listed", "expected"),
    [
        pytest.param(["gamma"], [], {"bias", "gamma"}, id="names"),
        pytest.param([], ["kernel"], {"bias", "kernel"}, id="list"),
        pytest.param(["gamma"], ["kernel"], {"bias", "gamma", "kernel"}, id="both"),
        pytest.param([], [], {"bias"}, id="neither"),
    ],
)
def test_what_keras_is_told_to_exclude_is_excluded_beside_decay_exclude(
    names, listed, expected, built
):
    variables = small_model().trainable_variables
    optimizer = AdamW(0.1, weight_decay=0.5, decay_exclude=("bias",))
    if built:
        optimizer.build(variables)

    optimizer.exclude_from_weight_decay(
        var_list=[variable for variable in variables if variable.name in listed], var_names=names
    )

    assert not_decayed(optimizer, variables) == expected


def test_of_two_calls_the_later_one_counts_as_in_keras():
    for optimizer, own in [
        (AdamW(0.1, weight_decay=0.5, decay_exclude=("bias",)), {"bias"}),
        (keras.optimizers.AdamW(0.1, weight_decay=0.5), set()),
    ]:
        optimizer.exclude_from_weight_decay(var_names=["gamma"])
        optimizer.exclude_from_weight_decay(var_names=["beta"])

        assert not_decayed(optimizer, small_model().trainable_variables) == {"beta"} | own


def test_decay_exclude_is_saved_with_a_model(tmp_path):
    model = small_model()
    optimizer = AdamW(0.1, weight_decay=0.5, decay_exclude=("bias", "norm"))
    optimizer.exclude_from_weight_decay(var_names=["kernel"])
    model.compile(optimizer, loss="mse")
    optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")

    loaded = keras.saving.load_model(tmp_path / "model.keras")

    assert loaded.optimizer.get_config() == optimizer.get_config()
    kept = not_decayed(loaded.optimizer, loaded.trainable_variables)
    assert kept == {"bias", "gamma", "beta"}


def test_decays_once_per_update_when_gradients_are_accumulated():
    optimizer = AdamW(0.1, weight_decay=0.5, decay_rule="decoupled", gradient_accumulation_steps=2)
    variable = keras.Variable(np.ones(3, "float32"))

    for _ in range(2):
        optimizer.apply([np.zeros(3, "float32")], [variable])

    close(variable, np.full(3, 0.5), 1e-6)


def test_json_round_trip():
    optimizer = AdamW(
        WarmUpCosine(0.1, 10, 0.0, 3),
        weight_decay=0.2,
        decay_rule="decoupled",
        decay_exclude=("norm", "bias"),
        beta_2=0.95,
    )

    written = json.dumps(keras.saving.serialize_keras_object(optimizer))
    read = keras.saving.deserialize_keras_object(json.loads(written))

    assert isinstance(read, AdamW)
    assert read.get_config() == optimizer.get_config()
    close(trajectory(read), trajectory(optimizer), 0)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"decay_rule": "l2"}, "`decay_rule` is one of .*'l2'"),
        ({"decay_exclude": ("kernel",)}, "`decay_exclude` holds kinds of .*'kernel'"),
    ],
)
def test_bad_argument(kwargs, message):
    with pytest.raises(ValueError, match=message):
        AdamW(**kwargs)
