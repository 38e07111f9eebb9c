"""What every layer owes Keras: configs, saved files, symbolic shapes, mixed precision, XLA."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from layer_harness import (
    BACKEND,
    LAYERS,
    RANDOM_LAYERS,
    close,
    randomize,
    run_compiled,
    to_numpy,
)

LOAD = """
import sys
import numpy as np
import small_vit
import keras

inputs = dict(np.load(sys.argv[2]))
np.savez(sys.argv[3], **keras.saving.load_model(sys.argv[1]).predict(inputs, verbose=0))
"""


@pytest.fixture(params=LAYERS.values(), ids=LAYERS)
def case(request):
    return request.param


@pytest.fixture(params=RANDOM_LAYERS.values(), ids=RANDOM_LAYERS)
def random_case(request):
    return request.param


@pytest.fixture(scope="module")
def saved_outputs(tmp_path_factory):
    """Outputs of a model of all layers, from here and from a process that loaded it."""
    folder = tmp_path_factory.mktemp("layers")
    inputs = {name: keras.Input(case.input_shape, name=name) for name, case in LAYERS.items()}
    outputs = {
        f"{name}/{index}": output
        for name, case in LAYERS.items()
        for index, output in enumerate(case.run(case.make(name=f"{name}_layer"), inputs[name]))
    }
    model = randomize(keras.Model(inputs, outputs))
    arrays = {name: case.inputs() for name, case in LAYERS.items()}
    paths = [folder / "model.keras", folder / "inputs.npz", folder / "outputs.npz"]
    model.save(paths[0])
    np.savez(paths[1], **arrays)
    subprocess.run(
        [sys.executable, "-c", LOAD, *paths],
        env={
            **os.environ,
            "KERAS_BACKEND": BACKEND,
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        check=True,
    )
    return model.predict(arrays, verbose=0), dict(np.load(paths[2]))


@pytest.mark.parametrize("name", LAYERS)
def test_saved_model_loads_in_a_fresh_process(saved_outputs, name):
    here, there = saved_outputs
    keys = [key for key in here if key.split("/")[0] == name]

    assert keys
    for key in keys:
        close(there[key], here[key], 1e-6)


def test_config_names_every_constructor_argument(case):
    parameters = inspect.signature(case.layer_class.__init__).parameters.values()
    named = {each.name for each in parameters if each.kind is not each.VAR_KEYWORD} - {"self"}

    assert named <= set(case.make().get_config())


def test_config_round_trip(case):
    config = case.make(name="a_name", dtype="mixed_bfloat16").get_config()

    assert case.layer_class.from_config(config).get_config() == config


def test_json_round_trip_computes_the_same(case):
    layer, x = case.make_built(), case.inputs()
    written = json.dumps(keras.saving.serialize_keras_object(layer))

    other = keras.saving.deserialize_keras_object(json.loads(written))
    case.run(other, keras.Input(case.input_shape))
    other.set_weights(layer.get_weights())

    outputs = case.run_fast(other, x)
    for output, expected in zip(outputs, case.run_fast(layer, x), strict=True):
        close(output, expected, 1e-6)


def test_is_registered_under_the_package(case):
    name = case.layer_class.__name__

    assert keras.saving.get_registered_object(f"small_vit>{name}") is case.layer_class


def test_symbolic_shape_leaves_the_batch_open(case):
    images = keras.Input(case.input_shape)
    layer = case.make()

    symbolic = [tuple(each.shape) for each in case.run(layer, images)]
    actual = [tuple(each.shape) for each in case.run_fast(layer, case.inputs(batch=3))]

    assert symbolic == [(None, *shape[1:]) for shape in actual]
    assert all(shape[0] == 3 for shape in actual)


def test_compute_output_shape_is_the_actual_shape(case):
    outputs = case.run_fast(case.make_built(), case.inputs(batch=3))
    actual = [tuple(each.shape) for each in outputs]
    shapes = case.make().compute_output_shape(*case.arguments((3, *case.input_shape)))

    shapes = shapes if isinstance(shapes[0], tuple) else (shapes,)
    assert list(shapes) == actual


@pytest.mark.parametrize(
    ("policy", "compute_dtype"),
    [("float32", "float32"), ("mixed_float16", "float16"), ("mixed_bfloat16", "bfloat16")],
)
def test_dtype_policy(case, policy, compute_dtype):
    layer = case.make_built(dtype=policy)

    for output in case.run_fast(layer, case.inputs(), training=True):
        assert keras.backend.standardize_dtype(output.dtype) == compute_dtype
        assert np.isfinite(to_numpy(output)).all()
    assert {variable.dtype for variable in layer.trainable_variables} <= {"float32"}


ANY_NUMBER_OF_TOKENS = ["lsa", "block", "sequence_pooling"]
BUILT_FOR_A_SHAPE = ["spt", "encoder", "encoder_class_token", "resize", *ANY_NUMBER_OF_TOKENS]


@pytest.mark.parametrize("name", BUILT_FOR_A_SHAPE)
def test_a_built_layer_refuses_another_shape(name):
    """What broadcasts or divides by chance must not pass: one token, half the width."""
    case = LAYERS[name]
    layer = case.make_built()
    *places, width = case.input_shape
    others = [(*places, width // 2 if width > 3 else 1)]
    if name not in ANY_NUMBER_OF_TOKENS:
        others.append((1, *case.input_shape[1:]))
    for shape in others:
        with pytest.raises(ValueError, match=r"incompatible with the layer|was built for tokens"):
            case.run(layer, np.ones((2, *shape), "float32"))


@pytest.mark.skipif(BACKEND == "torch", reason="torch has no XLA here")
def test_compiles_with_xla(case):
    layer, x = case.make_built(), case.inputs()

    expected = case.run(layer, x)
    for output, reference in zip(run_compiled(case, layer, x), expected, strict=True):
        close(output, reference)


@pytest.mark.skipif(BACKEND == "torch", reason="torch has no XLA here")
def test_random_training_call_compiles_with_xla(random_case):
    layer, x = random_case.make_built(), random_case.inputs()

    for output in run_compiled(random_case, layer, x, training=True):
        assert np.isfinite(to_numpy(output)).all()


def test_random_state_is_tracked_and_advances(random_case):
    layer, x = random_case.make_built(), random_case.inputs()
    states = [each for each in layer.variables if each.name == "seed_generator_state"]
    before = [to_numpy(each) for each in states]

    random_case.run(layer, x, training=True)

    assert states
    assert all((to_numpy(now) != old).any() for now, old in zip(states, before, strict=True))


def test_random_layer_is_deterministic_in_inference(random_case):
    layer, x = random_case.make_built(), random_case.inputs()

    first, second = random_case.run(layer, x), random_case.run(layer, x)

    close(first[0], second[0], 0)
