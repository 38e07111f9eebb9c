"""Warm-up and cosine."""

import json
import math

import keras
import numpy as np
import pytest

from layer_harness import to_numpy
from small_vit import WarmUpCosine


def reference(step, base, total, start, warmup, final=0.0):
    if step > total:
        return final
    if step < warmup:
        return start + (base - start) * step / warmup
    falling = 1 + math.cos(math.pi * (step - warmup) / (total - warmup))
    return final + 0.5 * (base - final) * falling


@pytest.mark.parametrize(
    "arguments",
    [
        (1e-3, 100, 0.0, 10),
        (0.5, 50, 0.1, 25),
        (1e-3, 40, 1e-3, 7),
        (2.0, 30, 0.0, 0),
        (1.0, 50, 0.1, 10, 0.25),
    ],
)
def test_every_step_against_a_loop(arguments):
    schedule = WarmUpCosine(*arguments)
    steps = range(arguments[1] + 20)

    rates = [to_numpy(schedule(step)) for step in steps]

    expected = [reference(step, *arguments) for step in steps]
    np.testing.assert_allclose(rates, expected, rtol=1e-4, atol=1e-6 * arguments[0])


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 0.1), (10, 1.0), (55, 0.5), (100, 0.0), (101, 0.0), (10_000, 0.0)]
)
def test_endpoints(step, rate):
    schedule = WarmUpCosine(1.0, 100, 0.1, 10)

    assert to_numpy(schedule(step)) == pytest.approx(rate, abs=1e-6)


def test_without_warmup_it_starts_at_the_base():
    assert to_numpy(WarmUpCosine(1.0, 100, 0.3, 0)(0)) == 1.0


def test_without_a_cosine_it_is_the_warmup():
    schedule = WarmUpCosine(1.0, 10, 0.0, 10)

    rates = [float(to_numpy(schedule(step))) for step in range(12)]

    np.testing.assert_allclose(rates, [*np.arange(11) / 10, 0.0], atol=1e-6)


def test_drives_an_optimizer():
    optimizer = keras.optimizers.SGD(WarmUpCosine(1.0, 10, 0.0, 5))
    variable = keras.Variable(np.zeros(1, "float32"))

    for _ in range(3):
        optimizer.apply([np.ones(1, "float32")], [variable])

    assert to_numpy(variable)[0] == pytest.approx(-(0.0 + 0.2 + 0.4))


def test_json_round_trip():
    schedule = WarmUpCosine(1e-3, 100, 1e-5, 10, 1e-6)

    written = json.dumps(keras.saving.serialize_keras_object(schedule))
    read = keras.saving.deserialize_keras_object(json.loads(written))

    assert isinstance(read, WarmUpCosine)
    assert read.get_config() == schedule.get_config()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, 5, 0.0, 6), "`total_steps` must be at least `warmup_steps`.*5.*6"),
        ((1.0, 10, 2.0, 5), "at least `warmup_learning_rate`.*1.0.*2.0"),
        ((1.0, 10, 0.0, 5, 3.0), "at least `final_learning_rate`.*1.0.*3.0"),
    ],
)
def test_bad_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        WarmUpCosine(*arguments)
