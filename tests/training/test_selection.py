"""Which epoch is kept and tested, and when training stops early, also when it is resumed."""

import keras
import numpy as np
import pytest

from small_vit.config import TrainConfig
from small_vit.errors import InputError
from small_vit.recipes import digits
from small_vit.training import run as training
from small_vit.training.callbacks import Validation
from small_vit.training.run import run_experiment
from small_vit.training.selection import best_epoch, has_stalled
from tiny import TINY

pytestmark = pytest.mark.usefixtures("without_reports")


def history(*accuracies, losses=None):
    losses = losses or [0.0] * len(accuracies)
    pairs = zip(accuracies, losses, strict=True)
    return [{"val_accuracy": accuracy, "val_loss": loss} for accuracy, loss in pairs]


def test_the_best_epoch_has_the_highest_accuracy_then_the_lowest_loss_then_is_the_first():
    assert best_epoch(history(0.1, 0.9, 0.5)) == 1
    assert best_epoch(history(0.9, 0.9, 0.9, losses=[3.0, 1.0, 2.0])) == 1
    assert best_epoch(history(0.9, 0.9)) == 0


@pytest.mark.parametrize(
    ("accuracies", "patience", "stalled"),
    [
        ((0.5, 0.4), 2, False),
        ((0.5, 0.4, 0.5), 2, True),
        ((0.5, 0.4, 0.6), 2, False),
        ((0.5, 0.4, 0.3), 0, False),
        ((), 1, False),
    ],
)
def test_training_stalls_after_as_many_epochs_as_patience_without_a_better_one(
    accuracies, patience, stalled
):
    assert has_stalled(history(*accuracies), patience) is stalled


@pytest.fixture
def config():
    return digits().replace(
        model=TINY,
        data={"train_examples": 128},
        train={"epochs": 6, "batch_size": 64, "keep": "best", "patience": 2}
        | {"schedule": "constant"},
    )


def script(monkeypatch, *accuracies):
    """Let validation give these accuracies, epoch by epoch, and always the same loss."""
    coming = iter(accuracies)

    def on_epoch_end(self, epoch, logs=None):
        logs |= {"val_accuracy": next(coming), "val_top5_accuracy": 1.0, "val_loss": 1.0}

    monkeypatch.setattr(Validation, "on_epoch_end", on_epoch_end)


def weights(directory):
    model = keras.saving.load_model(directory / "model.keras", compile=False)
    return [np.array(keras.ops.convert_to_numpy(weight)) for weight in model.weights]


def test_a_run_tests_its_best_epoch_and_stops_when_it_stalls(config, monkeypatch, tmp_path):
    script(monkeypatch, 0.3, 0.6, 0.4, 0.5, 0.9)
    result = run_experiment(config, tmp_path / "best")
    assert (result.kept_epoch, result.stopped_after) == (2, 4)
    assert result.validation["accuracy"] == 0.6
    # At a constant rate, the first two epochs are those of a run of two.
    script(monkeypatch, 0.3, 0.6)
    two = config.replace(train={"epochs": 2, "keep": "last", "patience": 0})
    run_experiment(two, tmp_path / "two")
    pairs = zip(weights(tmp_path / "best"), weights(tmp_path / "two"), strict=True)
    for weight, other in pairs:
        np.testing.assert_array_equal(weight, other)


def test_a_run_killed_after_it_stalled_ends_without_another_epoch(config, monkeypatch, tmp_path):
    script(monkeypatch, 0.3, 0.6, 0.4, 0.5, 0.9)
    with pytest.MonkeyPatch.context() as killed:
        killed.setattr(training, "predict_split", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_experiment(config, tmp_path)
    result = run_experiment(config, tmp_path, resume=True)
    assert (result.kept_epoch, result.stopped_after) == (2, 4)


@pytest.mark.parametrize("setting", [{"keep": "best"}, {"patience": 1}, {"calibrate": True}])
@pytest.mark.parametrize("how", ["none", "test"])
def test_what_needs_validation_images_is_refused_without(config, setting, how):
    without = {"keep": "last", "patience": 0} | setting
    with pytest.raises(InputError, match=f"needs validation images.*{how}"):
        config.replace(train=without, data={"validation_split": how})


def test_the_best_epoch_has_no_averages():
    with pytest.raises(InputError, match="'last' with ema_momentum"):
        TrainConfig(keep="best", ema_momentum=0.9)
