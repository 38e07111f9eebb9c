"""What happens during an epoch and at its end: validation, the run's files, a stop at NaN."""

import math
import time

import keras
import numpy as np
import psutil

from small_vit import hosts
from small_vit.layers.transformer_block import transformer_blocks
from small_vit.results.checkpoint import Checkpoint
from small_vit.results.metrics import basic_metrics
from small_vit.results.predictions import predict_logits

SECONDS_BETWEEN_LOOKS = 3.0
"""How long a loss that is no longer finite may go unnoticed."""


class TrainingDiverged(RuntimeError):
    """Training has left the finite numbers; the last checkpoint is from before."""


class StopAtNonFiniteLoss(keras.callbacks.Callback):
    """Raises `TrainingDiverged` when the mean loss of the epoch so far is NaN or infinite.

    It looks every few seconds and at the end of an epoch: to look at each step would have each
    wait for the device.
    """

    def on_train_begin(self, logs=None):
        """Start the clock."""
        self.looked = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Check the loss, if it was not checked for some seconds."""
        # All hosts look at once: one that stopped alone would leave the others waiting for it.
        if hosts.from_first(time.perf_counter() - self.looked > SECONDS_BETWEEN_LOOKS):
            self._look(f"by step {batch + 1}")

    def on_epoch_end(self, epoch, logs=None):
        """Check the loss."""
        self._look(f"in epoch {epoch + 1}")

    def _look(self, when):
        _require_finite_loss(self.model, when)
        self.looked = time.perf_counter()


def _require_finite_loss(model, when):
    loss = float(model.get_metrics_result()["loss"])
    if not math.isfinite(loss):
        raise TrainingDiverged(f"The loss became {loss} {when}.")


class Validation(keras.callbacks.Callback):
    """Adds `val_loss`, `val_accuracy` and `val_top5_accuracy` to an epoch's logs.

    Args:
        split: Images and labels held out.
        batch_size: Images a batch.
    """

    def __init__(self, split, batch_size):
        super().__init__()
        self.split = split
        self.batch_size = batch_size

    def on_epoch_end(self, epoch, logs=None):
        """Evaluate the model as it is."""
        logits = predict_logits(self.model, self.split, self.batch_size)
        # The last step of an epoch breaks the weights only after its loss was computed.
        if not np.isfinite(logits).all():
            raise TrainingDiverged("The model's outputs are no longer finite numbers.")
        metrics = basic_metrics(logits, self.split.labels)
        logs.update({f"val_{name}": value for name, value in metrics.items()})


class Temperatures(keras.callbacks.Callback):
    """Adds `temperature_1`, `temperature_2`, … to an epoch's logs, where blocks learn any.

    Each is what a block divides its attention scores by, the mean over its heads.

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
    """Keeps the history; the first host writes it and a checkpoint after each epoch and within.

    Args:
        directory: The `RunDirectory`.
        checkpoint: `Checkpoint` that the run goes on from; its history grows by one an epoch.
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
            # A checkpoint must not keep what training cannot recover from.
            _require_finite_loss(self.model, f"by step {batch + 1}")
            self._refuse_broken_weights(batch + 1)
            self._save(Checkpoint(self.history, step=batch + 1, seconds=self._seconds()))
            self.saved = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Keep the epoch and write it."""
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}}
        row["learning_rate"] = float(self.model.optimizer.learning_rate)
        row["seconds"] = round(self._seconds(), 3)
        self.history.append(row)
        self.seconds_before = 0.0
        # The checkpoint carries the history, so that a kill between the two loses nothing.
        self._save(Checkpoint(self.history))
        if hosts.is_first():
            self.directory.write_history(self.history)

    def _refuse_broken_weights(self, step):
        # A step breaks the weights only after its loss was computed.
        for weight in map(keras.ops.convert_to_numpy, self.model.trainable_variables):
            if not np.isfinite(weight).all():
                raise TrainingDiverged(f"Weights are no longer finite numbers by step {step}.")

    def _seconds(self):
        return self.seconds_before + time.perf_counter() - self.started

    def _save(self, checkpoint):
        if hosts.is_first():
            self.directory.save_checkpoint(self.model, checkpoint)


class FirstStep(keras.callbacks.Callback):
    """Notes when the first step has ended.

    Attributes:
        ended: That time, by `time.perf_counter`.
        seconds_of_process: Seconds from the start of the process to then.
    """

    ended = None

    def on_train_batch_end(self, batch, logs=None):
        """Note the time, once."""
        if self.ended is None:
            self.ended = time.perf_counter()
            self.seconds_of_process = time.time() - psutil.Process().create_time()
