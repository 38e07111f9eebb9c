"""Devices: what is asked for and absent is refused; two devices train like one."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from small_vit import training
from small_vit.errors import InputError
from small_vit.recipes import digits
from small_vit.strategy import choose_strategy

# A tiny model without random layers, on as many virtual CPU devices as argument 1 says; the last
# batch of an epoch is half as large as the others.
TRAIN = """
import json, os, sys
if os.environ["KERAS_BACKEND"] == "tensorflow":
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    split = [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[1])
    tf.config.set_logical_device_configuration(cpu, split)
import keras
from small_vit.recipes import digits
from small_vit.runs import RunDirectory
from small_vit.strategy import choose_strategy
from small_vit.training import run_experiment
config = digits().replace(
    model={"num_layers": 1, "projection_dim": 16, "num_heads": 2, "key_dim": 8, "patch_size": 4},
    augment={"flip": False, "rotation": 0.0, "zoom": 0.0, "translation": 0.0},
    data={"train_examples": 140},
    train={"epochs": 3, "batch_size": 40, "strategy": "cpu"},
)
assert choose_strategy("cpu").devices == int(sys.argv[1])
run_experiment(config, sys.argv[2])
"""


def losses(devices, directory):
    flags = f"--xla_force_host_platform_device_count={devices}"
    root = Path(__file__).parent.parent
    environment = os.environ | {
        "KERAS_BACKEND": keras.backend.backend(),
        "PYTHONPATH": str(root),
        "XLA_FLAGS": flags,
    }
    command = [sys.executable, "-c", TRAIN, str(devices), str(directory)]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=300)
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return np.array([[row["loss"], row["val_loss"]] for row in rows])


def test_two_devices_train_like_one(tmp_path):
    """Same global batch, same loss curve: sums in another order, so to 1e-4 after three epochs."""
    one, two = losses(1, tmp_path / "one"), losses(2, tmp_path / "two")
    np.testing.assert_allclose(two, one, rtol=1e-4)


@pytest.mark.parametrize("name", ["gpu", "multi-gpu", "tpu"])
def test_absent_devices_are_refused_with_what_is_there(name):
    with pytest.raises(InputError, match=rf"--strategy {name} .*It finds: 1 CPU"):
        choose_strategy(name)


def test_a_batch_that_devices_cannot_share_is_refused(tmp_path, monkeypatch):
    two = dataclasses.replace(choose_strategy("cpu"), devices=2)
    monkeypatch.setattr(training, "choose_strategy", lambda name: two)
    config = digits().replace(train={"batch_size": 63})
    with pytest.raises(InputError, match=r"multiple of the 2 devices.*63"):
        training.run_experiment(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_the_cpu_is_found(name):
    strategy = choose_strategy(name)
    assert strategy.devices == 1
    assert "core" in strategy.description
