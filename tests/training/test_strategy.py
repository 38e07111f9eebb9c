"""Devices: what is asked for and absent is refused; two devices and two hosts train like one."""

import dataclasses
import json
import math
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from small_vit import hosts
from small_vit.errors import InputError
from small_vit.recipes import digits
from small_vit.training import prepare
from small_vit.training import run as training
from small_vit.training.devices import choose_strategy

# A tiny model without random layers, on as many CPU devices over all hosts as argument 1 says; the
# last batch of an epoch is half as large as the others.
TRAIN = """
import json, os, sys
if os.environ["KERAS_BACKEND"] == "tensorflow":
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    split = [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[1])
    tf.config.set_logical_device_configuration(cpu, split)
import keras
from small_vit.recipes import digits
from small_vit.results.run_directory import RunDirectory
from small_vit.training import run
from small_vit.training.devices import choose_strategy
run.write_report = lambda *arguments: None  # To draw it takes seconds.
config = digits().replace(
    model={"num_layers": 1, "projection_dim": 16, "num_heads": 2, "key_dim": 8, "patch_size": 4},
    augment={"flip": False, "rotation": 0.0, "zoom": 0.0, "translation": 0.0},
    data={"train_examples": 140},
    train={"epochs": 3, "batch_size": 8, "strategy": "cpu"},
)
assert choose_strategy("cpu").devices == int(sys.argv[1])
run.run_experiment(config, sys.argv[2])
"""


def start(devices, directory, devices_here, **variables):
    environment = os.environ | {
        "KERAS_BACKEND": keras.backend.backend(),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices_here}",
        **variables,
    }
    command = [sys.executable, "-c", TRAIN, str(devices), str(directory)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def wait_for(processes):
    try:
        assert [process.wait(timeout=300) for process in processes] == [0] * len(processes)
    finally:
        for process in processes:
            process.kill()


def losses(directory):
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return np.array([[row["loss"], row["val_loss"]] for row in rows])


@pytest.fixture(scope="module")
def losses_of_one(tmp_path_factory):
    """The losses of a run on one device."""
    directory = tmp_path_factory.mktemp("runs") / "one"
    wait_for([start(1, directory, 1)])
    return losses(directory)


def test_two_devices_train_like_one(losses_of_one, tmp_path):
    """Same global batch, same loss curve: sums in another order, so to 1e-4 after three epochs."""
    wait_for([start(2, tmp_path / "two", 2)])
    np.testing.assert_allclose(losses(tmp_path / "two"), losses_of_one, rtol=1e-4)


# A few steps with a recipe's augmentation, of batches that hold more numbers than any weight.
AUGMENT = """
import sys
import numpy as np
from small_vit.training.classifier import build_training_model
from small_vit.training.factories import compile_model
from small_vit.data.batches import ShuffledBatches
from small_vit.data import Dataset, Split
from small_vit.training.factories import make_engine
from small_vit.recipes import RECIPES
from small_vit.training.devices import choose_strategy
config = RECIPES[sys.argv[1]]().replace(
    model={"num_layers": 1, "projection_dim": 16, "num_heads": 2, "key_dim": 8, "head_units": ()},
    train={"batch_size": 8},
)
with choose_strategy("cpu").scope():
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3)).astype("uint8")
    split = Split(images, np.arange(16, dtype="int32") % 10)
    dataset = Dataset("noise", split, split, tuple("0123456789"))
    model = build_training_model(config, dataset)
    compile_model(model, config.train, steps_per_epoch=2, num_classes=10)
    make_engine(model, ShuffledBatches(split, 10, 8, seed=0, devices=2)).run(0, 1, [])
"""
COLLECTIVE = re.compile(
    r"= (.*?) (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
)


def collectives(folder):
    """What devices exchange in the compiled steps that XLA wrote to `folder`: kinds and shapes."""
    (program,) = folder.glob("*jit__steps*after_optimizations.txt")
    return [
        (kind, tuple(int(side) for side in sides.split(",") if side))
        for shapes, kind in COLLECTIVE.findall(program.read_text())
        for sides in re.findall(r"\w\[([\d,]*)\]", shapes)
    ]


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="it alone divides one program")
@pytest.mark.parametrize(
    ("recipe", "gathered"),
    [("keras-example", []), ("paper", [(8, 10), (8, 32, 32, 3)])],
)
def test_devices_exchange_gradients_and_what_is_mixed_alone(recipe, gathered, tmp_path):
    """Mixing needs the whole batch's images and targets; all else of augmentation is per image."""
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "XLA_FLAGS": f"--xla_force_host_platform_device_count=2 --xla_dump_to={tmp_path}",
        "JAX_ENABLE_COMPILATION_CACHE": "false",  # what is not compiled is not written
    }
    subprocess.run([sys.executable, "-c", AUGMENT, recipe], env=environment, check=True)

    exchanged = collectives(tmp_path)
    assert {kind for kind, _ in exchanged} <= {"all-gather", "all-reduce"}
    assert sorted(shape for kind, shape in exchanged if kind == "all-gather") == gathered
    reduced = [math.prod(shape) for kind, shape in exchanged if kind == "all-reduce"]
    assert len(reduced) > 10
    assert max(reduced) < 8 * 32 * 32 * 3


DROP = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import json
from small_vit.layers import FastDropout
from small_vit.training.devices import choose_strategy
with choose_strategy("cpu").scope():
    layer = FastDropout(0.5, seed=0)
    strategy = tf.distribute.get_strategy()
    masks = strategy.run(tf.function(lambda: layer(tf.ones((1000,)), training=True)))
print(json.dumps([mask.numpy().tolist() for mask in strategy.experimental_local_results(masks)]))
"""


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="elsewhere there is one mask")
def test_devices_under_tf_distribute_draw_their_own_masks():
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    call = [sys.executable, "-c", DROP]
    ended = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=120)
    first, second = np.array(json.loads(ended.stdout)) > 0
    # Independent masks of a half agree in a half of the places.
    assert 0.4 < first.mean() < 0.6 and 0.4 < second.mean() < 0.6
    assert 0.4 < (first == second).mean() < 0.6


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="refused there, see below")
def test_two_hosts_train_like_one_and_the_first_writes(losses_of_one, tmp_path):
    """As for two devices."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    directories = [tmp_path / "first", tmp_path / "second"]
    wait_for(
        [
            start(
                2,
                directory,
                1,
                **dict(zip(hosts.VARIABLES, (address, "2", str(number)), strict=True)),
            )
            for number, directory in enumerate(directories)
        ]
    )
    np.testing.assert_allclose(losses(tmp_path / "first"), losses_of_one, rtol=1e-4)
    assert (tmp_path / "first" / "result.json").exists()
    assert not (tmp_path / "second").exists()


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="it trains on several hosts")
def test_several_hosts_are_refused_where_they_cannot_share_a_model(monkeypatch):
    for name, value in zip(hosts.VARIABLES, ("localhost:1", "2", "0"), strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="Several hosts train one model on JAX only"):
        choose_strategy("cpu")


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="refused altogether there")
def test_a_forgotten_variable_is_named(monkeypatch):
    monkeypatch.setenv(hosts.PROCESSES, "2")
    with pytest.raises(InputError, match=r"JOB_ADDRESSES.*PROCESS_ID.*Set are"):
        choose_strategy("cpu")


@pytest.mark.parametrize("name", ["gpu", "multi-gpu", "tpu"])
def test_absent_devices_are_refused_with_what_is_there(name):
    with pytest.raises(InputError, match=rf"--strategy {name} .*It finds: 1 CPU"):
        choose_strategy(name)


def test_a_batch_that_devices_cannot_share_is_refused(tmp_path, monkeypatch):
    two = dataclasses.replace(choose_strategy("cpu"), devices=2)
    monkeypatch.setattr(prepare, "choose_strategy", lambda name: two)
    config = digits().replace(train={"batch_size": 63})
    with pytest.raises(InputError, match=r"multiple of the 2 devices.*63"):
        training.run_experiment(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_fewer_images_than_devices_are_refused(monkeypatch):
    many = dataclasses.replace(choose_strategy("cpu"), devices=32)
    monkeypatch.setattr(prepare, "choose_strategy", lambda name: many)
    with pytest.raises(InputError, match=r"each of the 32 devices\. Received: 20 training"):
        prepare.prepare(digits().replace(data={"train_examples": 20}))


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_the_cpu_is_found(name):
    strategy = choose_strategy(name)
    assert strategy.devices == 1
    assert "core" in strategy.description
