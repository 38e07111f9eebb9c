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

LOAD_ALL = """
import sys
from pathlib import Path
import numpy as np
import small_vit
import keras

for path in sorted(Path(sys.argv[1]).glob("*.keras")):
    inputs = np.load(path.with_suffix(".npz"))["inputs"]
    outputs = keras.tree.flatten(keras.saving.load_model(path)(inputs))
    outputs = [keras.ops.convert_to_numpy(output) for output in outputs]
    np.savez(path.with_suffix(".reloaded.npz"), *outputs)
"""


@pytest.fixture(params=LAYERS.values(), ids=LAYERS)
def case(request):
    return request.param


@pytest.fixture(params=RANDOM_LAYERS.values(), ids=RANDOM_LAYERS)
def random_case(request):
    return request.param


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A folder with a saved model of each layer, and its outputs here and in a fresh process."""
    folder = tmp_path_factory.mktemp("layers")
    for name, case in LAYERS.items():
        layer = case.make(name="layer")
        images = keras.Input(case.input_shape)
        model = keras.Model(images, layer(*case.arguments(images)))
        randomize(model)
        outputs = [to_numpy(each) for each in keras.tree.flatten(model(case.inputs()))]
        np.savez(folder / f"{name}.npz", *outputs, inputs=case.inputs())
        model.save(folder / f"{name}.keras")
    root = Path(__file__).parents[1]
    environment = {**os.environ, "KERAS_BACKEND": BACKEND, "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", LOAD_ALL, str(folder)], env=environment, check=True)
    return folder


@pytest.mark.parametrize("name", LAYERS)
def test_saved_model_loads_in_a_fresh_process(model_folder, name):
    with (
        np.load(model_folder / f"{name}.npz") as before,
        np.load(model_folder / f"{name}.reloaded.npz") as after,
    ):
        for output in after.files:
            close(after[output], before[output], 1e-6)


def test_config_names_every_constructor_argument(case):
    parameters = inspect.signature(case.layer_class.__init__).parameters.values()
    named = {each.name for each in parameters if each.kind is not each.VAR_KEYWORD} - {"self"}

    assert named <= set(case.make().get_config())


def test_config_round_trip(case):
    config = case.make(name="a_name", dtype="mixed_bfloat16").get_config()

    assert case.layer_class.from_config(config).get_config() == config


def test_json_round_trip_computes_the_same(case):
    layer, x = case.make(), case.inputs()
    case.run(layer, x)
    randomize(layer)
    written = json.dumps(keras.saving.serialize_keras_object(layer))

    other = keras.saving.deserialize_keras_object(json.loads(written))
    case.run(other, x)
    other.set_weights(layer.get_weights())

    for output, expected in zip(case.run(other, x), case.run(layer, x), strict=True):
        close(output, expected, 1e-6)


def test_is_registered_under_the_package(case):
    name = case.layer_class.__name__

    assert keras.saving.get_registered_object(f"small_vit>{name}") is case.layer_class


def test_symbolic_shape_leaves_the_batch_open(case):
    images = keras.Input(case.input_shape)
    layer = case.make()

    symbolic = [tuple(each.shape) for each in case.run(layer, images)]
    actual = [tuple(each.shape) for each in case.run(layer, case.inputs(batch=3))]

    assert symbolic == [(None, *shape[1:]) for shape in actual]
    assert all(shape[0] == 3 for shape in actual)


def test_compute_output_shape_is_the_actual_shape(case):
    actual = [tuple(each.shape) for each in case.run(case.make(), case.inputs(batch=3))]
    shapes = case.make().compute_output_shape(*case.arguments((3, *case.input_shape)))

    shapes = shapes if isinstance(shapes[0], tuple) else (shapes,)
    assert list(shapes) == actual


@pytest.mark.parametrize(
    ("policy", "compute_dtype"),
    [("float32", "float32"), ("mixed_float16", "float16"), ("mixed_bfloat16", "bfloat16")],
)
def test_dtype_policy(case, policy, compute_dtype):
    layer = case.make(dtype=policy)

    for output in case.run(layer, case.inputs(), training=True):
        assert keras.backend.standardize_dtype(output.dtype) == compute_dtype
        assert np.isfinite(to_numpy(output)).all()
    assert {variable.dtype for variable in layer.trainable_variables} <= {"float32"}


@pytest.mark.skipif(BACKEND == "torch", reason="torch has no XLA here")
def test_compiles_with_xla(case):
    layer, x = case.make(), case.inputs()
    case.run(layer, x)
    randomize(layer)

    expected = case.run(layer, x)
    for output, reference in zip(run_compiled(case, layer, x), expected, strict=True):
        close(output, reference)


@pytest.mark.skipif(BACKEND == "torch", reason="torch has no XLA here")
def test_random_training_call_compiles_with_xla(random_case):
    layer, x = random_case.make(), random_case.inputs()
    random_case.run(layer, x)

    for output in run_compiled(random_case, layer, x, training=True):
        assert np.isfinite(to_numpy(output)).all()


def test_random_state_is_tracked_and_advances(random_case):
    layer, x = random_case.make(), random_case.inputs()
    random_case.run(layer, x)
    states = [each for each in layer.variables if each.name == "seed_generator_state"]
    before = [to_numpy(each) for each in states]

    random_case.run(layer, x, training=True)

    assert states
    assert all((to_numpy(now) != old).any() for now, old in zip(states, before, strict=True))


def test_random_layer_is_deterministic_in_inference(random_case):
    layer, x = random_case.make(), random_case.inputs()

    first, second = random_case.run(layer, x), random_case.run(layer, x)

    close(first[0], second[0], 0)
