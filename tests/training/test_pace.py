"""How many epochs fit into a time."""

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
