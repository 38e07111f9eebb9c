"""One training run, from a config to a result."""

import importlib.util
import time

import keras
import numpy as np

from small_vit import hosts
from small_vit.config import CHECKPOINT_MINUTES
from small_vit.data import fingerprint
from small_vit.data.folder.dataset import FolderDataset
from small_vit.data.folder.listing import refuse_inside_images
from small_vit.errors import InputError
from small_vit.models.registry import count_multiply_adds
from small_vit.plots.labels import printable
from small_vit.quiet import only_errors
from small_vit.recipes import changes_from_recipe
from small_vit.report.run_report import write_report
from small_vit.results.checkpoint import Checkpoint
from small_vit.results.environment import describe_environment, peak_memory_mb
from small_vit.results.evaluation import evaluate
from small_vit.results.predictions import predict_split
from small_vit.results.result import Result
from small_vit.results.run_directory import RunDirectory, new_path
from small_vit.results.saved_model import calibrated
from small_vit.training.assemble import assemble
from small_vit.training.devices import precision
from small_vit.training.prepare import make_deterministic, prepare
from small_vit.training.start import parameter_count
from small_vit.training.train import train


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
    refuse_inside_images(directory.path, config.data)
    prepared = prepare(config)
    if config.train.deterministic:
        make_deterministic()
    dataset = prepared.dataset
    if isinstance(dataset, FolderDataset) and hosts.is_first():
        print("\n".join(map(printable, dataset.describe())))
    environment = describe_environment(
        prepared.strategy.description,
        fingerprint(dataset),
        prepared.source and prepared.source.fingerprint,
    )
    if resume:
        directory.refuse_another(config, environment)
        ended = directory.result()
        if ended is not None and ended.epochs == config.train.epochs:
            directory.drop_needless_checkpoint()  # if the run was killed before that
            return ended

    with prepared.strategy.scope(), precision(config.train.precision):
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

        started = time.perf_counter() - checkpoint.total_seconds
        trained = train(
            engine,
            config,
            prepared.validation,
            directory,
            checkpoint,
            tensorboard=tensorboard,
            checkpoint_minutes=checkpoint_minutes,
        )
        test_logits, held_out = _predict(model, config.train, prepared)
        seconds = time.perf_counter() - started

        measured = evaluate(
            test_logits, dataset.test.labels, prepared.positive, held_out, config.train.calibrate
        )
        classifier = model.classifier
        if config.train.calibrate:
            classifier = calibrated(classifier, measured.metrics["temperature"])
        if hosts.is_first():
            directory.save_model(classifier, _about_model(config, prepared, measured))

    result = Result(
        **_about_experiment(config, prepared, model.classifier, environment),
        **_about_training(config, trained),
        metrics=measured.metrics,
        intervals=measured.intervals,
        seconds=round(seconds, 1),
        peak_memory_mb=peak_memory_mb(),
    )
    if hosts.is_first():
        write_report(directory, config, result, classifier, measured.logits, dataset)
        directory.finish(result)
    return result


def _predict(model, train, prepared):
    """Return the logits of the test images, and `(logits, labels)` of validation images or None.

    The test set is looked at here only, after all training. Validation images are of use where
    something is chosen on them: a temperature, a threshold.
    """
    dataset, validation = prepared.dataset, prepared.validation
    test_logits = predict_split(model, dataset.test, train.batch_size)
    chooses = train.calibrate or prepared.positive is not None
    if not chooses or validation is None or validation is dataset.test:
        return test_logits, None
    return test_logits, (
        predict_split(model, validation, train.batch_size),
        validation.labels,
    )


def _about_model(config, prepared, measured):
    """What is kept in the model's file."""
    about = {
        "class_names": prepared.dataset.class_names,
        "fit": config.data.fit,
        "model": config.to_dict()["model"],
    }
    if prepared.positive is not None:
        about["positive"] = prepared.positive
        about["threshold"] = measured.metrics.get("threshold")
    return about


def _about_experiment(config, prepared, classifier, environment):
    """What a result says about the experiment, before any of it is measured."""
    dataset = prepared.dataset
    multiply_adds = count_multiply_adds(config.model, dataset.image_shape, dataset.num_classes)
    of_process = ("backend", "device", "versions", "commit", "command", "data_fingerprint")
    return {
        "recipe": config.recipe,
        "dataset": config.data.name,
        "arm": config.arm,
        "seed": config.train.seed,
        "changes": changes_from_recipe(config, prepared.source and prepared.source.config),
        "train_examples": len(prepared.train),
        "trainable_parameters": parameter_count(classifier.trainable_weights),
        "forward_flops": 2 * multiply_adds.total,
        "epochs": config.train.epochs,
        "passes_per_epoch": config.train.passes_per_epoch,
        "batch_size": config.train.batch_size,
        "precision": config.train.precision,
        "init_fingerprint": environment.get("init_fingerprint"),
        **{name: environment[name] for name in of_process},
    }


def _about_training(config, trained):
    """What a result says about the training."""
    history = trained.history
    return {
        "validation": {
            name.removeprefix("val_"): value
            for name, value in history[trained.kept].items()
            if name.startswith("val_")
        },
        "kept_epoch": trained.kept + 1 if config.train.keep == "best" else None,
        "stopped_after": len(history) if len(history) < config.train.epochs else None,
        "best_on_test": _best_on_test(config, history),
        # Without the first epoch, which includes compilation.
        "seconds_per_epoch": float(np.median([row["seconds"] for row in history[1:] or history])),
        "train_seconds": trained.train_seconds,
        "start_seconds": trained.start_seconds,
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
