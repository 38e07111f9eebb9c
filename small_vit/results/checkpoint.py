"""A checkpoint: all state of a run, so that a resumed run ends with the same numbers."""

import dataclasses
import json
import re
import zipfile
from dataclasses import dataclass, field

import keras
import numpy as np

from small_vit.errors import InputError
from small_vit.files import written_whole


@dataclass(frozen=True)
class Checkpoint:
    """The progress of a run.

    Attributes:
        history: The finished epochs, a list of dicts.
        step: Steps of the next epoch that are done.
        seconds: Time that these steps took.
    """

    history: list[dict] = field(default_factory=list)
    step: int = 0
    seconds: float = 0.0

    @property
    def total_seconds(self):
        """Time that the epochs and steps took."""
        return sum(epoch["seconds"] for epoch in self.history) + self.seconds


def save_checkpoint(path, model, checkpoint):
    """Save all state of `model`, its optimizer and its metrics, and the progress of the run.

    Keras's own formats leave out the state of the random generators. Without it, a resumed run
    would draw other dropout masks and augmentations than the uninterrupted run.

    Args:
        path: The file, written whole or not at all.
        model: `keras.Model`, compiled.
        checkpoint: `Checkpoint`.
    """
    state = _state(model)
    arrays = {
        f"variable_{index}": keras.ops.convert_to_numpy(variable)
        for index, (_, variable) in enumerate(state)
    }
    about = dataclasses.asdict(checkpoint) | {"paths": [path for path, _ in state]}
    with written_whole(path) as partial:
        np.savez(partial, about=json.dumps(about), **arrays)


def restore_checkpoint(path, model):
    """Set all state of `model`, its optimizer and its metrics from a file.

    Args:
        path: The file.
        model: `keras.Model`, built and compiled like the one that was saved.

    Returns:
        The `Checkpoint`.

    Raises:
        InputError: if it is damaged or of another model.
    """
    try:
        with np.load(path) as arrays:
            values = [arrays[f"variable_{index}"] for index in range(len(arrays.files) - 1)]
            about = json.loads(str(arrays["about"]))
        paths = about.pop("paths")
        checkpoint = Checkpoint(**about)
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} is damaged: {error!r}. Delete it to train from the start, or start a new run."
        ) from error
    state = _state(model)
    saved = [(path, value.shape) for path, value in zip(paths, values, strict=True)]
    if saved != [(path, tuple(variable.shape)) for path, variable in state]:
        raise InputError(
            f"{path} holds other variables than the model has now: the code has changed since. "
            "Start a new run."
        )
    for (_, variable), value in zip(state, values, strict=True):
        variable.assign(value)
    return checkpoint


def _state(model):
    """All variables that a resumed run needs, with their paths; the generators' seeds are included.

    Keras numbers the generators and optimizers of a process. The paths here leave out the number.
    """
    of_model = [re.sub(r"seed_generator_\d+", "seed_generator", v.path) for v in model.variables]
    of_optimizer = [f"optimizer/{v.path.partition('/')[2]}" for v in model.optimizer.variables]
    of_metrics = [f"metrics/{v.path}" for v in model.metrics_variables]
    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    return list(zip([*of_model, *of_optimizer, *of_metrics], variables, strict=True))
