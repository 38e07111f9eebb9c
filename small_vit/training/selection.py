"""Which epoch's weights are kept, and when training stops early.

Both follow from the history alone, so a resumed run decides as the uninterrupted one does.
"""

import zipfile

import keras
import numpy as np

from small_vit import hosts
from small_vit.errors import InputError
from small_vit.files import written_whole


def best_epoch(history):
    """Return the index of the epoch with the highest validation accuracy.

    Of several, it is the one with the lowest validation loss: a small validation set leaves many
    epochs with equal accuracy.

    Args:
        history: List of dicts, one per epoch.
    """
    return max(range(len(history)), key=lambda index: _quality(history[index]))


def has_stalled(history, patience):
    """Return whether the last `patience` epochs brought no new best epoch; never if it is 0.

    Args:
        history: List of dicts, one per epoch.
        patience: Number of epochs.
    """
    return bool(patience and history) and len(history) - 1 - best_epoch(history) >= patience


def _quality(epoch):
    return epoch["val_accuracy"], -epoch["val_loss"]


class KeepBest(keras.callbacks.Callback):
    """Saves the weights of each epoch that is the best so far; add it before `RunFiles`.

    A run that is killed between the two trains that epoch again, and saves the same weights.

    Args:
        path: The file.
        classifier: `keras.Model`, the part that is tested and saved.
        history: The finished epochs, a list of dicts that `RunFiles` adds to.
    """

    def __init__(self, path, classifier, history):
        super().__init__()
        self.path = path
        self.classifier = classifier
        self.history = history

    def on_epoch_end(self, epoch, logs=None):
        """Save the weights, if this epoch is the best."""
        best = not self.history or _quality(logs) > max(map(_quality, self.history))
        if best and hosts.is_first():
            with written_whole(self.path) as partial, partial.open("wb") as file:
                np.savez(file, *map(keras.ops.convert_to_numpy, self.classifier.weights))

    def restore(self):
        """Set the classifier's weights to those of the best epoch, on every host.

        Raises:
            InputError: if the file is gone or damaged.
        """
        values = list(map(keras.ops.convert_to_numpy, self.classifier.weights))
        if hosts.is_first():
            try:
                with np.load(self.path) as arrays:
                    values = list(arrays.values())
            except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
                raise InputError(
                    f"{self.path}, the weights of the best epoch, cannot be read: {error!r}. Start "
                    "a new run."
                ) from error
        for weight, value in zip(
            self.classifier.weights, hosts.arrays_from_first(values), strict=True
        ):
            weight.assign(value)


class StopWhenStalled(keras.callbacks.Callback):
    """Stops training after `patience` epochs without a new best one; add it after `RunFiles`.

    Args:
        patience: Number of epochs.
        history: The finished epochs, a list of dicts that `RunFiles` adds to.
    """

    def __init__(self, patience, history):
        super().__init__()
        self.patience = patience
        self.history = history

    def on_epoch_end(self, epoch, logs=None):
        """Stop, if the best epoch is long ago."""
        if has_stalled(self.history, self.patience):
            self.model.stop_training = True
