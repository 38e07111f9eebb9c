"""The training of a run: the engine's epochs, with the run's callbacks."""

import time
from dataclasses import dataclass

import keras

from small_vit import hosts
from small_vit.training.callbacks import (
    FirstStep,
    RunFiles,
    StopAtNonFiniteLoss,
    Temperatures,
    TrainingDiverged,
    Validation,
)
from small_vit.training.progress import ShowProgress
from small_vit.training.selection import KeepBest, StopWhenStalled, best_epoch, has_stalled


@dataclass(frozen=True)
class Training:
    """A training that has ended.

    Attributes:
        history: Its epochs, a list of dicts.
        kept: Index of the epoch whose weights the model has.
        train_seconds: Time from the end of the first step on; None if this process resumed it.
        start_seconds: Time from the start of the process to the end of the first step; None if
            this process resumed it.
    """

    history: list[dict]
    kept: int
    train_seconds: float | None
    start_seconds: float | None


def train(engine, config, validation, directory, checkpoint, *, tensorboard, checkpoint_minutes):
    """Train a run's model to the end, from a checkpoint on.

    Args:
        engine: `Engine` of the model; the model has the checkpoint's state.
        config: `ExperimentConfig`.
        validation: `Split` that is evaluated after each epoch, or None.
        directory: `RunDirectory`.
        checkpoint: `Checkpoint`; an empty one at the start.
        tensorboard: As in `run_experiment`.
        checkpoint_minutes: As in `run_experiment`.

    Returns:
        `Training`. The model has the weights of the last epoch, or of the best.

    Raises:
        TrainingDiverged: if the loss stops being finite.
    """
    settings, classifier, history = config.train, engine.model.classifier, checkpoint.history
    resumed, first_epoch = bool(history or checkpoint.step), len(history)
    steps = len(engine.batches)
    title = f"{config.data.name} {config.arm} seed {settings.seed}"
    progress = ShowProgress(
        title, settings.epochs, steps, steps_before=first_epoch * steps + checkpoint.step
    )
    first_step = FirstStep()
    keep_best = KeepBest(directory / "best.npz", classifier, history)
    callbacks = [first_step, StopAtNonFiniteLoss()]
    if validation is not None:
        callbacks.append(Validation(validation, settings.batch_size))
    callbacks.append(Temperatures(classifier))
    if settings.keep == "best":
        callbacks.append(keep_best)
    callbacks += [
        RunFiles(directory, checkpoint, 60 * checkpoint_minutes),
        StopWhenStalled(settings.patience, history),
    ]
    if hosts.is_first():
        callbacks.append(progress)
        if tensorboard:
            callbacks.append(keras.callbacks.TensorBoard(directory / "tensorboard"))

    # A run that had stalled and was killed before its result was written has no epochs left.
    last_epoch = first_epoch if has_stalled(history, settings.patience) else settings.epochs
    try:
        with progress:
            engine.run(first_epoch, last_epoch, callbacks, checkpoint.step)
    except TrainingDiverged as error:
        raise TrainingDiverged(
            f"{error} {directory.path} holds the last checkpoint before that, if there was one. "
            "Start a new run with a lower learning rate, or in bfloat16 or float32 if this was "
            "float16."
        ) from error
    train_seconds = None if resumed else round(time.perf_counter() - first_step.ended, 1)
    start_seconds = None if resumed else round(first_step.seconds_of_process, 1)

    kept = len(history) - 1
    if settings.keep == "best":
        kept = best_epoch(history)
        keep_best.restore()
    return Training(history, kept, train_seconds, start_seconds)
