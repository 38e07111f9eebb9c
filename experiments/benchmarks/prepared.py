"""What a contender hands to its worker, and the device it is on."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from small_vit.strategy import choose_strategy


@dataclass(frozen=True)
class Prepared:
    """A contender ready to be timed.

    Attributes:
        run: Makes one measurement's work and returns when the device has finished it. What it
            returns, if anything, is a dict of figures to report beside the seconds.
        device: Readable name.
        parameters: Trainable weights.
        packages: Distributions whose versions matter, beside the backend's.
    """

    run: Callable[[], dict | None]
    device: str
    parameters: int = 0
    packages: tuple[str, ...] = ()


def keras_device():
    """Return `(name, strategy)` of where Keras trains by default."""
    strategy = choose_strategy("auto")
    return strategy.description, strategy


def wait_for(model):
    """Return when the last update of `model` is done."""
    keras.ops.convert_to_numpy(model.trainable_variables[-1])


def count_parameters(model):
    """Return the number of trainable weights of a Keras model."""
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
