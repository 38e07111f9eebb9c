"""One training run, from a config to a result."""

import importlib.util
import time
from pathlib import Path

import keras
import numpy as np

from small_vit import hosts
from small_vit.config import CHECKPOINT_MINUTES
from small_vit.data import fingerprint
from small_vit.data.folder.dataset import FolderDataset
from small_vit.errors import InputError
from small_vit.models.registry import count_multiply_adds
from small_vit.plots.labels import printable
from small_vit.quiet import only_errors
from small_vit.recipes import changes_from_recipe
from small_vit.report.run_report import write_report
from small_vit.results.checkpoint import Checkpoint
from small_vit.results.environment import describe_environment, peak_memory_mb
from small_vit.results.evaluation import evaluate
from small_vit.results.predictions import predict_logits
from small_vit.results.result import Result
from small_vit.results.run_directory import RunDirectory, new_path
from small_vit.results.saved_model import calibrated
from small_vit.training.assemble import assemble
from small_vit.training.callbacks import (
    FirstStep,
    RunFiles,
    StopAtNonFiniteLoss,
    Temperatures,
    TrainingDiverged,
    Validation,
)
from small_vit.training.devices import precision
from small_vit.training.prepare import make_deterministic, prepare
from small_vit.training.progress import ShowProgress
from small_vit.training.selection import KeepBest, StopWhenStalled, best_epoch, has_stalled


def run_experiment(
    config, directory=None, resume=False, tensorboard=False, checkpoint_minutes=CHECKPOINT_MINUTES
):
    """Train one model, evaluate it once on the test set and leave a run directory.

    With several hosts (`small_vit.hosts`), each calls this and gets the result. The first writes
    the files.

    Args:
        config: `ExperimentConfig`.
        directory: Where the run's files go; made if absent. Default: a new one under runs/.
        resume: Whether to resume the run in `directory`, which every host must be able to read. It
            ends with the weights and metrics of the uninterrupted run. A run that has ended is not
            trained again. At a constant learning rate `config` may have more epochs.
        tensorboard: Whether to write TensorBoard's curves to `directory/tensorboard` (needs
            TensorFlow installed).
        checkpoint_minutes: Time between checkpoints within an epoch. One is always saved after it.

    Returns:
        A `Result`.

    Raises:
        InputError: for data, devices, settings or folders that cannot be used, before training.
        TrainingDiverged: if the loss stops being finite; the last checkpoint stays.
    """
    directory = RunDirectory(directory or new_path(config, f"seed{config.train.seed}"))
    if tensorboard:
        _require_tensorflow()
    prepared = prepare(config)
    strategy, dataset, validation = prepared.strategy, prepared.dataset, prepared.validation
    if config.train.deterministic:
        make_deterministic()
    if isinstance(dataset, FolderDataset) and hosts.is_first():
        print("\n".join(map(printable, dataset.describe())))

    # ------------------------------------------------------- run directory
    _refuse_inside_images(directory, config.data)
    environment = describe_environment(
        strategy.description,
        fingerprint(dataset),
        prepared.source and prepared.source.fingerprint,
    )
    if resume:
        directory.refuse_another(config, environment)
        ended = directory.result()
        if ended is not None and ended.epochs == config.train.epochs:
            directory.drop_needless_checkpoint()  # if the run was killed before that
            return ended

    with strategy.scope(), precision(config.train.precision):
        # ----------------------------------------------------------- model
        with only_errors():  # It imports TensorFlow on any backend, where that is installed.
            keras.utils.set_random_seed(config.train.seed)
        model, engine = assemble(config, prepared, print if hosts.is_first() else None)

        # Only now: initial weights that do not fit leave no run behind.
        if resume:
            environment = directory.resume(config, environment)
        else:
            directory.create(config, environment, dataset.class_names)
        directory.write_files(dataset)  # again, if the run was killed before
        checkpoint = directory.restore_checkpoint(model) if resume else Checkpoint()
        history, step = checkpoint.history, checkpoint.step
        keep_best = KeepBest(directory / "best.npz", model.classifier, history)

        # ----------------------------------------------------------- train
        started = time.perf_counter()
        title = f"{config.data.name} {config.arm} seed {config.train.seed}"
        steps = len(engine.batches)
        progress = ShowProgress(title, config.train.epochs, steps, len(history) * steps + step)
        first_step = FirstStep()
        callbacks = [first_step, StopAtNonFiniteLoss()]
        if validation is not None:
            callbacks.append(Validation(validation, config.train.batch_size))
        callbacks.append(Temperatures(model.classifier))
        if config.train.keep == "best":
            callbacks.append(keep_best)
        callbacks += [
            RunFiles(directory, checkpoint, 60 * checkpoint_minutes),
            StopWhenStalled(config.train.patience, history),
        ]
        if hosts.is_first():
            callbacks.append(progress)
        if tensorboard and hosts.is_first():
            callbacks.append(keras.callbacks.TensorBoard(directory / "tensorboard"))
        earlier = sum(row["seconds"] for row in history) + checkpoint.seconds
        stalled = has_stalled(history, config.train.patience)  # in a run killed after its last step
        try:
            with progress:
                engine.run(
                    len(history), len(history) if stalled else config.train.epochs, callbacks, step
                )
        except TrainingDiverged as error:
            raise TrainingDiverged(
                f"{error} {directory.path} holds the last checkpoint before that, if there was "
                "one. Start a new run with a lower learning rate, or in bfloat16 or float32 if "
                "this was float16."
            ) from error

        trained = time.perf_counter()
        kept = len(history) - 1
        if config.train.keep == "best":
            kept = best_epoch(history)
            keep_best.restore()

        # ------------------------- test: once, after all training
        logits = predict_logits(model, dataset.test, config.train.batch_size)
        held_out = None
        choose = config.train.calibrate or prepared.positive is not None
        if choose and validation is not None and validation is not dataset.test:
            outputs = predict_logits(model, validation, config.train.batch_size)
            held_out = outputs, validation.labels
        seconds = earlier + time.perf_counter() - started
        times = {}
        if not resume:
            times["train_seconds"] = round(trained - first_step.ended, 1)
            times["start_seconds"] = round(first_step.seconds_of_process, 1)
        measured = evaluate(
            logits, dataset.test.labels, prepared.positive, held_out, config.train.calibrate
        )
        classifier = model.classifier
        if config.train.calibrate:
            classifier = calibrated(classifier, measured.metrics["temperature"])
        if hosts.is_first():
            about = {
                "class_names": dataset.class_names,
                "fit": config.data.fit,
                "model": config.to_dict()["model"],
            }
            if prepared.positive is not None:
                about["positive"] = prepared.positive
                about["threshold"] = measured.metrics.get("threshold")
            directory.save_model(classifier, about)

    result = Result(
        metrics=measured.metrics,
        intervals=measured.intervals,
        validation={
            name.removeprefix("val_"): value
            for name, value in history[kept].items()
            if name.startswith("val_")
        },
        kept_epoch=kept + 1 if config.train.keep == "best" else None,
        stopped_after=len(history) if len(history) < config.train.epochs else None,
        best_on_test=_best_on_test(config, history),
        seconds=round(seconds, 1),
        # Without the first epoch, which includes compilation.
        seconds_per_epoch=float(np.median([row["seconds"] for row in history[1:] or history])),
        peak_memory_mb=peak_memory_mb(),
        **times,
        **_about(config, prepared, model.classifier, environment),
    )
    if hosts.is_first():
        write_report(directory, config, result, classifier, measured.logits, dataset)
        directory.finish(result)
    return result


def _refuse_inside_images(directory, data):
    if data.dataset != "folder":
        return
    images = Path(data.data_dir)
    if images in directory.path.resolve().parents:
        raise InputError(
            f"The run would be written into the folder of its images, as one more class: "
            f"{directory.path} in {images}. Choose another folder with --out."
        )


def _about(config, prepared, classifier, environment):
    """What a run's result says about the experiment, before any of it is measured."""
    dataset = prepared.dataset
    multiply_adds = count_multiply_adds(config.model, dataset.image_shape, dataset.num_classes)
    of_process = ("backend", "device", "versions", "commit", "command", "data_fingerprint")
    return {
        "recipe": config.recipe,
        "dataset": config.data.name,
        "arm": config.arm,
        "seed": config.train.seed,
        "changes": changes_from_recipe(config),
        "train_examples": len(prepared.train),
        "trainable_parameters": sum(
            int(np.prod(weight.shape)) for weight in classifier.trainable_weights
        ),
        "forward_flops": 2 * multiply_adds.total,
        "epochs": config.train.epochs,
        "passes_per_epoch": config.train.passes_per_epoch,
        "batch_size": config.train.batch_size,
        "precision": config.train.precision,
        "init_fingerprint": environment.get("init_fingerprint"),
        **{name: environment[name] for name in of_process},
    }


def _best_on_test(config, history):
    if config.data.validation_split != "test":
        return {}
    best = max(history, key=lambda row: row["val_accuracy"])
    return {name: best[f"val_{name}"] for name in ("accuracy", "top5_accuracy")}


def _require_tensorflow():
    """Fail without TensorFlow: Keras's TensorBoard callback needs it on every backend."""
    if importlib.util.find_spec("tensorflow") is None:
        raise InputError(
            "--tensorboard needs TensorFlow and TensorBoard installed: pip install "
            "-e '.[tensorflow]'. history.csv and metrics.jsonl hold the same curves."
        )
