"""A run killed at any moment ends, resumed, where the uninterrupted run ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from small_vit.config import ExperimentConfig
from small_vit.data import load_dataset
from small_vit.errors import InputError
from small_vit.recipes import digits
from small_vit.results.run_directory import RunDirectory
from small_vit.training import run as training
from small_vit.training.callbacks import Validation
from small_vit.training.prepare import split_training_images
from small_vit.training.run import run_experiment

pytestmark = pytest.mark.usefixtures("without_reports")

ROOT = Path(__file__).parents[2]
TIMES = ("seconds",)


@pytest.fixture(scope="module")
def config():
    """Dropout, stochastic depth and augmentation on: their random states must be resumed too."""
    return digits().replace(
        model={
            "num_layers": 1,
            "projection_dim": 16,
            "num_heads": 2,
            "key_dim": 8,
            "dropout": 0.1,
            "attention_dropout": 0.1,
            "stochastic_depth": 0.1,
            "patch_size": 4,
        },
        data={"train_examples": 384},
        train={"epochs": 4, "batch_size": 64},
    )


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    """A finished run: its config, folder and result."""
    short, directory = config.replace(train={"epochs": 2}), tmp_path_factory.mktemp("runs") / "run"
    return short, directory, run_experiment(short, directory)


def weights(directory):
    model = keras.saving.load_model(directory / "model.keras", compile=False)
    return [np.array(keras.ops.convert_to_numpy(weight)) for weight in model.weights]


def metrics(directory):
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return [{key: row[key] for key in row if key not in TIMES} for row in rows]


def assert_same_run(directory, expected):
    assert metrics(directory) == metrics(expected)
    for weight, other in zip(weights(directory), weights(expected), strict=True):
        np.testing.assert_array_equal(weight, other)


def run_as_a_user(tmp_path, *arguments):
    """Start the front door, compiled as it is outside of tests."""
    fast_compiler = ("XLA_FLAGS", "JAX_DISABLE_MOST_OPTIMIZATIONS")
    environment = {name: value for name, value in os.environ.items() if name not in fast_compiler}
    environment["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path / "cache")
    command = [sys.executable, "run_cifar100.py", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)


def wait_for_epoch(process, directory, epoch):
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        path = directory / "metrics.jsonl"
        if path.exists() and len(path.read_text().splitlines()) >= epoch:
            return
        time.sleep(0.01)
    raise AssertionError(f"epoch {epoch} was not reached")


def test_a_run_killed_within_an_epoch_and_between_two_resumes_bitwise(tmp_path):
    """Killed after the first call of the engine, which is checkpointed, and in epoch 3."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    flags = (
        "--recipe digits --num-layers 1 --projection-dim 16 --num-heads 2 --key-dim 8 "
        "--patch-size 4 --dropout 0.1 --attention-dropout 0.1 --stochastic-depth 0.1 --mix 0.5 "
        "--batch-size 2 --epochs 3"
    ).split()
    assert run_as_a_user(tmp_path, *flags, "--out", whole).wait(timeout=300) == 0

    process = run_as_a_user(tmp_path, *flags, "--checkpoint-minutes", "0", "--out", killed)
    deadline = time.monotonic() + 300
    while not (killed / "checkpoint.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    kill(process)
    about = about_checkpoint(killed)
    assert about["step"] > 0
    assert about["seconds"] > 0
    assert about["history"] == []

    process = run_as_a_user(tmp_path, "--resume", killed)
    wait_for_epoch(process, killed, 2)
    kill(process)
    assert len(about_checkpoint(killed)["history"]) >= 1
    assert not (killed / "result.json").exists()

    assert run_as_a_user(tmp_path, "--resume", killed).wait(timeout=300) == 0
    assert_same_run(killed, whole)


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def about_checkpoint(directory):
    with np.load(directory / "checkpoint.npz") as checkpoint:
        return json.loads(str(checkpoint["about"]))


def interrupt(config, directory, epoch, monkeypatch, **options):
    """Run into a Ctrl-C at the end of `epoch`, counted from 0, before its checkpoint."""

    class Interrupted(Validation):
        def on_epoch_end(self, number, logs=None):
            if number == epoch:
                raise KeyboardInterrupt
            super().on_epoch_end(number, logs)

    with monkeypatch.context() as patch:
        patch.setattr("small_vit.training.train.Validation", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_experiment(config, directory, **options)


def test_a_run_killed_between_an_epochs_last_step_and_its_end_resumes_bitwise(
    finished, tmp_path, monkeypatch
):
    short, whole, _ = finished
    interrupt(short, tmp_path / "run", 1, monkeypatch, checkpoint_minutes=0)
    run_experiment(short, tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole)


def test_a_run_interrupted_before_its_first_checkpoint_starts_over(finished, tmp_path, monkeypatch):
    short, whole, _ = finished
    interrupt(short, tmp_path / "run", 0, monkeypatch)
    run_experiment(short, tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole)


def test_float16_and_the_papers_augmentation_resume_bitwise(config, tmp_path, monkeypatch):
    """The loss scale and the draws of whole batches are states, too."""
    special = config.replace(
        augment={"crop_padding": 1, "auto_augment": True, "erasing": 0.25, "mix": 0.5},
        train={"epochs": 2, "precision": "float16"},
    )
    run_experiment(special, tmp_path / "whole")
    interrupt(special, tmp_path / "run", 1, monkeypatch)
    run_experiment(special, tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize(
    "moment", ["results.run_directory.RunDirectory.write_history", "training.run.write_report"]
)
def test_a_run_that_died_after_its_last_epoch_needs_no_more_of_them(
    moment, config, tmp_path, monkeypatch
):
    """The resumed run keeps the command it was begun with, and notes the one that went on."""

    def die(*arguments):
        raise KeyboardInterrupt

    short, run = config.replace(train={"epochs": 1}), tmp_path / "run"
    monkeypatch.setattr("sys.argv", ["run_cifar100.py", "--begun"])
    with monkeypatch.context() as patch:
        patch.setattr(f"small_vit.{moment}", die)
        with pytest.raises(KeyboardInterrupt):
            run_experiment(short, run)
    monkeypatch.setattr("sys.argv", ["run_cifar100.py", "--resume"])
    result = run_experiment(short, run, resume=True)
    assert result.epochs == len(metrics(run)) == 1
    assert result.command.endswith("--begun")
    assert (result.train_seconds, result.start_seconds) == (None, None)
    environment = json.loads((run / "environment.json").read_text())
    assert environment["resumed"][0]["command"].endswith("--resume")


def test_the_same_config_gives_the_same_numbers_in_one_process(finished, tmp_path):
    short, _, first = finished
    second = run_experiment(short, tmp_path / "second")
    assert first.metrics["loss"] == second.metrics["loss"]
    other = run_experiment(short.replace(train={"seed": 1}), tmp_path / "other")
    assert other.metrics["loss"] != first.metrics["loss"]


@pytest.mark.parametrize("split", ["last", "stratified"])
def test_train_examples_are_as_many_as_asked_for_and_balanced(split):
    dataset = load_dataset("digits")
    config = digits().replace(data={"train_examples": 200, "validation_split": split})
    train, validation = split_training_images(dataset, config)
    assert np.bincount(train.labels).tolist() == [20] * 10
    assert len(validation) == 144


def test_a_changed_config_is_refused_by_name(finished):
    short, run, _ = finished
    changed = short.replace(train={"learning_rate": 0.5}, model={"num_heads": 1})
    with pytest.raises(InputError, match=r"model\.num_heads: 2 -> 1.*train\.learning_rate"):
        run_experiment(changed, run, resume=True)


def test_a_finished_run_is_not_trained_again(finished, monkeypatch):
    short, run, first = finished
    before = (run / "model.keras").stat().st_mtime_ns
    (run / "checkpoint.npz").touch()  # what a kill at the very end leaves
    assert run_experiment(short, run, resume=True) == first
    assert not (run / "checkpoint.npz").exists()
    assert (run / "model.keras").stat().st_mtime_ns == before
    with monkeypatch.context() as patch:
        patch.setattr(training, "fingerprint", lambda dataset: "of other data")
        with pytest.raises(InputError, match=r"data_fingerprint: .* -> of other data"):
            run_experiment(short, run, resume=True)
    with pytest.raises(InputError, match="already holds a run"):
        run_experiment(short, run)


def test_a_run_at_a_constant_rate_goes_on_to_more_epochs(config, tmp_path):
    constant = config.replace(train={"schedule": "constant", "epochs": 1})
    longer = constant.replace(train={"epochs": 2})
    run_experiment(longer, tmp_path / "whole")
    first = run_experiment(constant, tmp_path / "run")

    second = run_experiment(longer, tmp_path / "run", resume=True)

    assert_same_run(tmp_path / "run", tmp_path / "whole")
    assert (first.epochs, second.epochs) == (1, 2)
    run = RunDirectory(tmp_path / "run")
    assert run.config() == longer
    assert run.result() == second
    assert json.loads((run / "result-1-epochs.json").read_text())["metrics"] == first.metrics
    with pytest.raises(InputError, match=r"train\.epochs: 2 -> 1"):
        run_experiment(constant, tmp_path / "run", resume=True)
    (run / "checkpoint.npz").unlink()
    with pytest.raises(
        InputError, match=r"cannot be extended to 3 epochs: its checkpoint.npz is gone"
    ):
        run_experiment(longer.replace(train={"epochs": 3}), tmp_path / "run", resume=True)


def test_a_run_under_a_cosine_cannot_become_longer(finished):
    short, run, _ = finished
    with pytest.raises(InputError, match=r"schedule=warmup_cosine the learning rate .* was 2"):
        run_experiment(short.replace(train={"epochs": 3}), run, resume=True)


def test_the_run_directory_describes_itself(finished):
    short, run, result = finished
    stored = ExperimentConfig.from_dict(json.loads((run / "config.json").read_text()))
    assert stored == short
    environment = json.loads((run / "environment.json").read_text())
    assert environment["backend"] == keras.backend.backend()
    assert {"command", "commit", "device", "versions", "data_fingerprint"} <= set(environment)
    numbers = json.loads((run / "result.json").read_text())
    assert numbers["metrics"] == result.metrics
    assert {"accuracy", "top5_accuracy", "loss"} <= set(result.metrics)
    assert set(result.validation) == {"accuracy", "top5_accuracy", "loss"}
    assert {"trainable_parameters", "seconds"} <= set(numbers)
    assert numbers["epochs"] == 2
    assert numbers["seconds_per_epoch"] > 0
    header, *rows = (run / "history.csv").read_text().splitlines()
    assert len(rows) == 2
    assert header.split(",")[0] == "epoch"
    assert not list(run.glob(".partial*"))
    assert not (run / "checkpoint.npz").exists()
