"""Nothing a user had is lost or half-written."""

import errno
import json
import math

import keras
import numpy as np
import pytest

from small_vit.data import Split
from small_vit.data.statistics import channel_statistics
from small_vit.errors import InputError
from small_vit.files import write_text, written_whole
from small_vit.plots.attention import temperatures
from small_vit.recipes import digits
from small_vit.results.checkpoint import Checkpoint
from small_vit.results.run_directory import RunDirectory
from small_vit.results.saved_model import load_model
from small_vit.training import callbacks
from small_vit.training import run as training
from small_vit.training.callbacks import TrainingDiverged
from tiny import TINY

pytestmark = pytest.mark.usefixtures("without_reports")


@pytest.fixture
def config():
    return digits().replace(
        model=TINY,
        data={"train_examples": 128},
        train={"epochs": 2, "batch_size": 64},
    )


def test_a_failed_write_leaves_the_old_file(tmp_path):
    write_text(tmp_path / "file", "old")
    with pytest.raises(InputError, match="No space left"), written_whole(tmp_path / "file") as path:
        path.write_text("ne")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert (tmp_path / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_disk_that_is_read_only_is_one_clear_error(tmp_path, monkeypatch):
    def refuse(path, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("small_vit.files.Path.unlink", refuse)
    message = r"Could not write .*file: Read-only"
    with pytest.raises(InputError, match=message), written_whole(tmp_path / "file") as path:
        refuse(path)


def test_a_folder_that_cannot_be_made_is_one_clear_error(config, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"Could not make the folder .*--out"):
        training.run_experiment(config, tmp_path / "file" / "run")


def test_a_disk_that_fills_up_is_one_clear_error(config, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("small_vit.results.checkpoint.np.savez", full)
    with pytest.raises(InputError, match=r"checkpoint\.npz: No space left.*--resume"):
        training.run_experiment(config, tmp_path / "run")


def test_a_folder_without_a_run_cannot_be_resumed(config, tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        training.run_experiment(config, tmp_path, resume=True)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json cannot be read"):
        RunDirectory(tmp_path).config()


def test_a_run_is_not_put_where_a_sweep_is(config, tmp_path):
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(InputError, match="already holds a run or a sweep"):
        training.run_experiment(config, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.json"]


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path):
    def model(units):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(units, name="d")], name="m")
        model.compile("sgd", "mse")
        model.optimizer.build(model.trainable_variables)
        return model

    directory, saved = RunDirectory(tmp_path), Checkpoint([{"epoch": 1}], step=3, seconds=1.5)
    assert directory.restore_checkpoint(model(3)) == Checkpoint()
    directory.save_checkpoint(model(3), saved)
    assert directory.restore_checkpoint(model(3)) == saved
    with pytest.raises(InputError, match=r"checkpoint\.npz holds other variables"):
        directory.restore_checkpoint(model(4))
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"checkpoint\.npz is damaged"):
        directory.restore_checkpoint(model(3))


def test_a_checkpoint_whose_variables_are_in_another_order_is_refused(tmp_path):
    """Two of one shape, exchanged, would load without a word."""

    def model(*names):
        layers = [keras.layers.Dense(2, name=name) for name in names]
        model = keras.Sequential([keras.Input((2,)), *layers], name="m")
        model.compile("sgd", "mse")
        model.optimizer.build(model.trainable_variables)
        return model

    directory = RunDirectory(tmp_path)
    directory.save_checkpoint(model("first", "second"), Checkpoint())
    assert directory.restore_checkpoint(model("first", "second")) == Checkpoint()
    with pytest.raises(InputError, match=r"checkpoint\.npz holds other variables"):
        directory.restore_checkpoint(model("second", "first"))


def test_a_result_of_another_version_is_refused(tmp_path):
    (tmp_path / "result.json").write_text('{"seed": 0}')
    with pytest.raises(InputError, match=r"result\.json is no result of this version.*metrics"):
        RunDirectory(tmp_path).result()


def test_other_data_or_backend_is_refused(config, tmp_path):
    directory = RunDirectory(tmp_path)
    names = ("command", "commit", "device", "versions")
    environment = {"backend": "tensorflow", "data_fingerprint": "aa"} | dict.fromkeys(names, "x")
    directory.create(config, environment, ["a", "b"])
    directory.refuse_another(config.replace(data={"data_dir": "moved"}), environment)
    with pytest.raises(InputError, match="backend: tensorflow -> jax"):
        directory.refuse_another(config, environment | {"backend": "jax"})
    with pytest.raises(InputError, match="data_fingerprint: aa -> bb"):
        directory.refuse_another(config, environment | {"data_fingerprint": "bb"})


def test_the_history_tells_each_blocks_temperature(config, tmp_path):
    config = config.replace(model={"num_layers": 2, "temperature_form": "multiplier"})
    training.run_experiment(config, tmp_path / "run")
    history = RunDirectory(tmp_path / "run").history()
    model, _ = load_model(tmp_path / "run")
    told = [[row[f"temperature_{number}"] for number in (1, 2)] for row in history]
    np.testing.assert_allclose(told[-1], np.ravel(temperatures(model)), rtol=1e-6)
    assert np.all(np.array(told) != math.sqrt(8)) and np.all(np.array(told[0]) != told[1])


@pytest.mark.parametrize(
    ("moment", "looks", "minutes", "message"),
    [
        ("before", 0, 5, "loss became nan by step"),
        ("before", 99, 5, "loss became nan in epoch 2"),
        ("before", 99, 0, "loss became nan by step"),
        ("after", 99, 0, "Weights are no longer finite numbers by step"),
    ],
)
def test_a_diverging_loss_stops_and_keeps_the_last_good_checkpoint(
    moment, looks, minutes, message, config, tmp_path, monkeypatch
):
    class PoisonedInEpoch2(callbacks.StopAtNonFiniteLoss):
        """Before its steps, or after the loss of one of them was computed."""

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch
            self.poison("before")

        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            self.poison("after")

        def poison(self, now):
            if (self.epoch, moment) == (1, now):
                kernel = self.model.classifier.get_layer("logits").kernel
                kernel.assign(np.full(kernel.shape, math.nan))

    with monkeypatch.context() as patch:
        patch.setattr("small_vit.training.train.StopAtNonFiniteLoss", PoisonedInEpoch2)
        patch.setattr(callbacks, "SECONDS_BETWEEN_CHECKS", looks)
        with pytest.raises(TrainingDiverged, match=message):
            training.run_experiment(config, tmp_path / "run", checkpoint_minutes=minutes)
    with np.load(tmp_path / "run" / "checkpoint.npz") as checkpoint:
        about = json.loads(str(checkpoint["about"]))
        assert (len(about["history"]), about["step"]) == (1, 0)
        arrays = [checkpoint[name] for name in checkpoint.files if name != "about"]
    assert all(np.isfinite(array).all() for array in arrays)
    assert training.run_experiment(config, tmp_path / "run", resume=True).epochs == 2


@pytest.mark.parametrize("validation_split", ["last", "none"])
def test_weights_broken_by_the_last_step_do_not_reach_the_checkpoint(
    validation_split, config, tmp_path, monkeypatch
):
    class PoisonedAfterItsSteps(callbacks.StopAtNonFiniteLoss):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            kernel = self.model.classifier.get_layer("logits").kernel
            kernel.assign(np.full(kernel.shape, math.nan))

    monkeypatch.setattr("small_vit.training.train.StopAtNonFiniteLoss", PoisonedAfterItsSteps)
    config = config.replace(data={"validation_split": validation_split})
    with pytest.raises(TrainingDiverged, match="no longer finite"):
        training.run_experiment(config, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoint.npz").exists()


def test_channel_statistics():
    images = np.random.default_rng(0).integers(0, 256, (7, 5, 4, 3), "uint8")
    mean, variance = channel_statistics(Split(images, np.zeros(7, "int32")))
    np.testing.assert_allclose(mean, images.mean((0, 1, 2)))
    np.testing.assert_allclose(variance, images.var((0, 1, 2)))


@pytest.mark.parametrize("name", ["config.json", "environment.json", "result.json"])
def test_a_damaged_file_is_named(name, config, tmp_path):
    directory = RunDirectory(tmp_path)
    environment = {"backend": "tensorflow", "data_fingerprint": "aa"}
    directory.create(config, environment, ["a", "b"])
    (tmp_path / name).write_text('{"half": ')

    with pytest.raises(InputError, match=name):
        directory.result()
        directory.refuse_another(config, environment)
