"""Progress of a run on the terminal: a line per epoch, and a bar with the time left."""

import time
from datetime import timedelta

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class ShowProgress(keras.callbacks.Callback):
    """Shows the progress of a run: one line per epoch, and on a terminal a bar with the time left.

    A context manager: the bar is shown while it is open.

    Args:
        title: What is being trained.
        epochs: Number of epochs.
        steps_per_epoch: Steps of an epoch.
        steps_before: Steps that were trained before.
    """

    def __init__(self, title, epochs, steps_per_epoch, steps_before):
        super().__init__()
        self.title = title
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.steps_before = steps_before
        self.console = Console(soft_wrap=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps, left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )

    def __enter__(self):
        """Show the bar."""
        self.bar.start()
        return self

    def __exit__(self, *exception):
        """Remove the bar, also after Ctrl-C."""
        self.bar.stop()

    def on_train_begin(self, logs=None):
        """Start the clock."""
        self.started = time.perf_counter()
        self.task = self.bar.add_task(
            self.title,
            total=self.epochs * self.steps_per_epoch,
            completed=self.steps_before,
        )

    def on_epoch_begin(self, epoch, logs=None):
        """Record where the epoch begins on the bar."""
        self.epoch_start = epoch * self.steps_per_epoch

    def on_train_batch_end(self, batch, logs=None):
        """Advance the bar; an engine may report many steps at once."""
        self.bar.update(self.task, completed=self.epoch_start + batch + 1)

    def on_epoch_end(self, epoch, logs=None):
        """Print the epoch's line."""
        # A run may have been killed between an epoch's last step and its end.
        steps_done = max(1, (epoch + 1) * self.steps_per_epoch - self.steps_before)
        steps_left = (self.epochs - epoch - 1) * self.steps_per_epoch
        left = (time.perf_counter() - self.started) / steps_done * steps_left
        names = ("loss", "accuracy", "val_loss", "val_accuracy")
        figures = "  ".join(f"{name} {logs[name]:.4f}" for name in names if name in logs)
        self.console.print(
            f"{self.title}  epoch {epoch + 1}/{self.epochs}  {figures}  left {clock(left)}",
            highlight=False,
            markup=False,
        )


def clock(seconds):
    """Return seconds as "1:02:03", and None as "unknown"."""
    return "unknown" if seconds is None else str(timedelta(seconds=round(seconds)))
