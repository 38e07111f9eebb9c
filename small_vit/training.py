"""One training run, from a config to its numbers."""

import importlib.util
import os
import time

import keras
import numpy as np

from small_vit import datasets, hosts
from small_vit.assembly import build_model, compile_model, precision, with_augmentation
from small_vit.batches import ShuffledBatches
from small_vit.callbacks import (
    FirstStep,
    RunFiles,
    ShowProgress,
    StopAtNonFiniteLoss,
    Temperatures,
    TrainingDiverged,
    Validation,
)
from small_vit.engine import make_engine
from small_vit.errors import InputError
from small_vit.evaluation import full_metrics, predict_logits
from small_vit.multiply_adds import count_multiply_adds
from small_vit.recipes import changes_from_recipe
from small_vit.report import write_report
from small_vit.runs import (
    Checkpoint,
    Result,
    RunDirectory,
    describe_environment,
    new_path,
    peak_memory_mb,
)
from small_vit.strategy import choose_strategy

CHECKPOINT_MINUTES = 5.0


def run_experiment(
    config, directory=None, resume=False, tensorboard=False, checkpoint_minutes=CHECKPOINT_MINUTES
):
    """Train one model, evaluate it once on the test set and leave a run directory.

    Several hosts (`small_vit.hosts`) each call this and get the result; the first leaves the files.

    Args:
        config: `ExperimentConfig`.
        directory: Where the run's files go; made if absent. Default: a new one under runs/.
        resume: Whether to go on with the run begun there, which every host reads. It ends with the
            weights and metrics of the uninterrupted run. A run that has ended is not trained again,
            but at a constant rate `config` may ask for more epochs.
        tensorboard: Whether to write TensorBoard's curves to `directory/tensorboard` (needs
            TensorFlow installed).
        checkpoint_minutes: Within an epoch, save a checkpoint that often; after it, always.

    Returns:
        A `Result`.

    Raises:
        InputError: for data, devices, settings or folders that cannot be used, before training.
        TrainingDiverged: if the loss stops being finite; the last checkpoint stays.
    """
    directory = RunDirectory(directory or new_path(config, f"seed{config.train.seed}"))
    if tensorboard:
        _require_tensorflow()
    strategy, dataset, train, validation = prepare(config)
    if config.train.deterministic:
        _make_deterministic()

    # ------------------------------------------------------- run directory
    environment = describe_environment(strategy.description, datasets.fingerprint(dataset))
    if resume:
        directory.refuse_another(config, environment)
        ended = directory.result()
        if ended is not None and ended.epochs == config.train.epochs:
            directory.drop_needless_checkpoint()  # should the run have died before it did
            return ended
        environment = directory.go_on(config, environment)
    else:
        directory.create(config, environment, dataset.class_names)

    with strategy.scope(), precision(config.train.precision):
        # ----------------------------------------------------------- model
        keras.utils.set_random_seed(config.train.seed)
        classifier = build_model(config, dataset)
        model = with_augmentation(classifier, config.augment)
        batches = ShuffledBatches(
            train,
            dataset.num_classes,
            config.train.batch_size,
            config.train.seed,
            strategy.devices,
            config.train.passes_per_epoch,
            config.train.drop_last,
        )
        compile_model(model, config.train, len(batches), dataset.num_classes)
        engine = make_engine(model, batches)
        checkpoint = directory.restore_checkpoint(model) if resume else Checkpoint()
        history, step = checkpoint.history, checkpoint.step

        # ----------------------------------------------------------- train
        started = time.perf_counter()
        title = f"{config.data.dataset} {config.model.arm} seed {config.train.seed}"
        steps_before = len(history) * len(batches) + step
        progress = ShowProgress(title, config.train.epochs, len(batches), steps_before)
        first_step = FirstStep()
        callbacks = [
            first_step,
            StopAtNonFiniteLoss(),
            Validation(validation, config.train.batch_size),
            Temperatures(classifier),
            RunFiles(directory, checkpoint, 60 * checkpoint_minutes),
        ]
        if hosts.is_first():
            callbacks.append(progress)
        if tensorboard and hosts.is_first():
            callbacks.append(keras.callbacks.TensorBoard(directory / "tensorboard"))
        earlier = sum(row["seconds"] for row in history) + checkpoint.seconds
        try:
            with progress:
                engine.run(len(history), config.train.epochs, callbacks, step)
        except TrainingDiverged as error:
            raise TrainingDiverged(
                f"{error} {directory.path} keeps the last checkpoint before that, if there was "
                "one. Start a new run with a lower learning rate, or in bfloat16 or float32 if "
                "this was float16."
            ) from error

        trained = time.perf_counter()

        # -------------------------- test: looked at once, after everything
        logits = predict_logits(model, dataset.test, config.train.batch_size)
        seconds = earlier + time.perf_counter() - started
        whole_run = {}
        if not resume:
            whole_run["train_seconds"] = round(trained - first_step.ended, 1)
            whole_run["start_seconds"] = round(first_step.seconds_of_process, 1)
        if hosts.is_first():
            directory.save_model(classifier)

    test = full_metrics(logits, dataset.test.labels)
    last = history[-1]
    multiply_adds = count_multiply_adds(config.model, dataset.image_shape[-1], dataset.num_classes)
    result = Result(
        recipe=config.recipe,
        dataset=config.data.dataset,
        arm=config.model.arm,
        seed=config.train.seed,
        **{f"test_{name}": value for name, value in test.items()},
        validation_accuracy=last["val_accuracy"],
        validation_top5_accuracy=last["val_top5_accuracy"],
        validation_loss=last["val_loss"],
        train_examples=len(train),
        trainable_parameters=sum(int(np.prod(w.shape)) for w in classifier.trainable_weights),
        epochs=config.train.epochs,
        passes_per_epoch=config.train.passes_per_epoch,
        batch_size=config.train.batch_size,
        seconds=round(seconds, 1),
        # The first epoch holds the compilation.
        seconds_per_epoch=float(np.median([row["seconds"] for row in history[1:] or history])),
        precision=config.train.precision,
        **{
            name: environment[name]
            for name in ("backend", "device", "versions", "commit", "command", "data_fingerprint")
        },
        changes=changes_from_recipe(config),
        forward_flops=2 * multiply_adds.total,
        peak_memory_mb=peak_memory_mb(),
        **whole_run,
        **_best_on_test(config, history),
    )
    if hosts.is_first():
        write_report(directory, config, result, classifier, logits, dataset)
        directory.finish(result)
    return result


def _best_on_test(config, history):
    if config.data.validation_split != "test":
        return {}
    best = max(history, key=lambda row: row["val_accuracy"])
    names = ("accuracy", "top5_accuracy")
    return {f"best_on_test_{name}": best[f"val_{name}"] for name in names}


def prepare(config):
    """Find the devices and load the data of a run, so that what is wrong with them shows first.

    Args:
        config: `ExperimentConfig`.

    Returns:
        `(Strategy, Dataset, Split, Split)`, the splits for training and validation.

    Raises:
        InputError: if the config cannot be trained with what is there.
    """
    if not config.model.num_layers:
        raise InputError("A run's model needs num_layers of at least 1. Received: 0.")
    strategy = choose_strategy(config.train.strategy)
    if config.train.batch_size % strategy.devices:
        raise InputError(
            f"batch_size must be a multiple of the {strategy.devices} devices that share a batch. "
            f"Received: {config.train.batch_size}. Change it, or take one device by --strategy."
        )
    dataset = datasets.load(config.data.dataset, config.data.data_dir)
    train, validation = split_training_images(dataset, config)
    images = len(train) * config.train.passes_per_epoch
    if config.train.drop_last and images < config.train.batch_size:
        raise InputError(
            f"drop_last leaves nothing of an epoch of {images} images in batches of "
            f"{config.train.batch_size}. Make batch_size smaller, or leave drop_last out."
        )
    if len(train) < strategy.devices:
        raise InputError(
            f"train_examples must be at least 1 for each of the {strategy.devices} devices. "
            f"Received: {len(train)} training images."
        )
    return strategy, dataset, train, validation


def split_training_images(dataset, config):
    """Return `(train, validation)`: the images held out, and of the others those asked for."""
    data, seed = config.data, config.train.seed
    if data.validation_split == "test":
        train, validation = dataset.train, dataset.test
    else:
        train, validation = datasets.hold_out(
            dataset.train, data.validation_fraction, data.validation_split, seed
        )
    if data.train_examples is not None:
        train = datasets.take_balanced(train, data.train_examples, dataset.num_classes, seed)
    return train, validation


def _make_deterministic():
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif backend == "torch":
        import torch

        if torch.cuda.is_available() and "CUBLAS_WORKSPACE_CONFIG" not in os.environ:
            raise InputError(
                "--deterministic on a GPU with PyTorch needs the environment variable "
                "CUBLAS_WORKSPACE_CONFIG=:4096:8 before Python starts."
            )
        torch.use_deterministic_algorithms(True)
    elif "--xla_gpu_deterministic_ops=true" not in os.environ.get("XLA_FLAGS", ""):
        import jax

        if jax.default_backend() == "gpu":
            raise InputError(
                "--deterministic on a GPU with JAX needs the environment variable "
                "XLA_FLAGS=--xla_gpu_deterministic_ops=true before Python starts."
            )


def _require_tensorflow():
    """Keras's TensorBoard callback writes with it on every backend."""
    if importlib.util.find_spec("tensorflow") is None:
        raise InputError(
            "--tensorboard needs TensorFlow and TensorBoard installed: pip install "
            "-e '.[tensorflow]'. history.csv and metrics.jsonl hold the same curves."
        )
