"""Keras callbacks of a run: validation, the run's files, a stop at NaN."""

import math
import time

import keras
import numpy as np
import psutil

from small_vit import hosts
from small_vit.layers.transformer_block import transformer_blocks
from small_vit.results.checkpoint import Checkpoint
from small_vit.results.metrics import basic_metrics
from small_vit.results.predictions import predict_split

SECONDS_BETWEEN_CHECKS = 3.0
"""Seconds between checks that the loss is finite."""


class TrainingDiverged(RuntimeError):
    """Loss, weights or outputs are no longer finite. The last checkpoint is from before that."""


class StopAtNonFiniteLoss(keras.callbacks.Callback):
    """Raises `TrainingDiverged` when the mean loss of the epoch so far is NaN or infinite.

    It checks every few seconds and at the end of an epoch. A check waits for the device, so it is
    not made at each step.
    """

    def on_train_begin(self, logs=None):
        """Start the clock."""
        self.checked = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Check the loss, if the last check was some seconds ago."""
        # All hosts check at the same step: if only one stopped, the others would wait for it.
        if hosts.from_first(time.perf_counter() - self.checked > SECONDS_BETWEEN_CHECKS):
            self._check(f"by step {batch + 1}")

    def on_epoch_end(self, epoch, logs=None):
        """Check the loss."""
        self._check(f"in epoch {epoch + 1}")

    def _check(self, when):
        _require_finite_loss(self.model, when)
        self.checked = time.perf_counter()


def _require_finite_loss(model, when):
    loss = float(model.get_metrics_result()["loss"])
    if not math.isfinite(loss):
        raise TrainingDiverged(f"The loss became {loss} {when}.")


class Validation(keras.callbacks.Callback):
    """Adds `val_loss`, `val_accuracy` and `val_top5_accuracy` to an epoch's logs.

    Args:
        split: Images and labels held out.
        batch_size: Images per batch.
    """

    def __init__(self, split, batch_size):
        super().__init__()
        self.split = split
        self.batch_size = batch_size

    def on_epoch_end(self, epoch, logs=None):
        """Evaluate the model."""
        logits = predict_split(self.model, self.split, self.batch_size)
        # The last step's loss is from before its update, so it does not show weights it has broken.
        if not np.isfinite(logits).all():
            raise TrainingDiverged("The model's outputs are no longer finite numbers.")
        metrics = basic_metrics(logits, self.split.labels)
        logs.update({f"val_{name}": value for name, value in metrics.items()})


class Temperatures(keras.callbacks.Callback):
    """Adds `temperature_1`, `temperature_2`, … to an epoch's logs, if the model learns any.

    Each is the divisor of a block's attention scores, the mean over its heads.

    Args:
        classifier: From `create_vit_classifier`.
    """

    def __init__(self, classifier):
        super().__init__()
        blocks = transformer_blocks(classifier)
        self.attentions = [block.attention for block in blocks if block.temperature != "none"]

    def on_epoch_end(self, epoch, logs=None):
        """Read the temperatures."""
        for number, attention in enumerate(self.attentions, start=1):
            divisor = keras.ops.convert_to_numpy(attention.score_divisor())
            logs[f"temperature_{number}"] = float(divisor.mean())


class RunFiles(keras.callbacks.Callback):
    """Records the history, and saves checkpoints within and after each epoch, on the first host.

    Args:
        directory: The `RunDirectory`.
        checkpoint: `Checkpoint` that the run resumes from; each epoch is added to its history.
        checkpoint_seconds: Seconds from one checkpoint to the next within an epoch.
    """

    def __init__(self, directory, checkpoint, checkpoint_seconds):
        super().__init__()
        self.directory = directory
        self.history = checkpoint.history
        self.seconds_before = checkpoint.seconds
        self.checkpoint_seconds = checkpoint_seconds

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clocks."""
        self.started = self.saved = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Save a checkpoint, if the last one is old."""
        if hosts.from_first(time.perf_counter() - self.saved >= self.checkpoint_seconds):
            # Training cannot recover from a checkpoint with NaN.
            _require_finite_loss(self.model, f"by step {batch + 1}")
            self._refuse_broken_weights(f"by step {batch + 1}")
            self._save(Checkpoint(self.history, step=batch + 1, seconds=self._seconds()))
            self.saved = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Add the epoch to the history, and save both."""
        self._refuse_broken_weights(f"after epoch {epoch + 1}")
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}}
        row["learning_rate"] = float(self.model.optimizer.learning_rate)
        row["seconds"] = round(self._seconds(), 3)
        self.history.append(row)
        self.seconds_before = 0.0
        # The checkpoint holds the history too, so a kill between the two writes loses nothing.
        self._save(Checkpoint(self.history))
        if hosts.is_first():
            self.directory.write_history(self.history)

    def _refuse_broken_weights(self, when):
        # A step's loss is from before its update, so it does not show weights it has broken.
        for weight in map(keras.ops.convert_to_numpy, self.model.trainable_variables):
            if not np.isfinite(weight).all():
                raise TrainingDiverged(f"Weights are no longer finite numbers {when}.")

    def _seconds(self):
        return self.seconds_before + time.perf_counter() - self.started

    def _save(self, checkpoint):
        if hosts.is_first():
            self.directory.save_checkpoint(self.model, checkpoint)


class FirstStep(keras.callbacks.Callback):
    """Records when the first step has ended.

    Attributes:
        ended: That time, by `time.perf_counter`.
        seconds_of_process: Seconds from the start of the process to then.
    """

    ended = None

    def on_train_batch_end(self, batch, logs=None):
        """Record the time, once."""
        if self.ended is None:
            self.ended = time.perf_counter()
            self.seconds_of_process = time.time() - psutil.Process().create_time()
