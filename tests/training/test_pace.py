"""How many epochs fit into a time."""

from unittest import mock

import pytest

from small_vit.errors import InputError
from small_vit.recipes import digits
from small_vit.training import pace
from small_vit.training.pace import epochs_within
from tiny import TINY


@pytest.fixture
def config(monkeypatch):
    monkeypatch.setattr(pace, "SECONDS_TO_MEASURE", 0.2)
    return digits().replace(
        model=TINY, data={"train_examples": 128}, train={"batch_size": 64, "epochs": 1}
    )


def test_more_time_is_more_epochs_and_too_little_is_refused(config):
    # An epoch of two steps of a tiny model takes milliseconds, compiling it takes seconds.
    assert epochs_within(config, minutes=60) > 100
    with pytest.raises(InputError, match=r"--minutes 0\.001 is too short for one epoch of .* s"):
        epochs_within(config, minutes=0.001)


def test_calls_that_compile_are_not_counted(monkeypatch):
    """The first call compiles for full batches, the first that ends an epoch for the last batch."""
    clock = iter([100.0, 101.0, 150.0, 151.0, 152.0])
    monkeypatch.setattr(pace.time, "perf_counter", lambda: next(clock))
    stopwatch = pace._Stopwatch(steps_per_epoch=3)
    stopwatch.set_model(mock.Mock(get_metrics_result=dict))
    for step in (0, 1, 2, 0, 1):
        stopwatch.on_train_batch_begin(step)
        stopwatch.on_train_batch_end(step)
    # Steps 1 of the first epoch, 0 and 1 of the second.
    assert (stopwatch.steps, stopwatch.seconds) == (3, 3.0)
