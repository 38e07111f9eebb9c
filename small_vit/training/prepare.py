"""Set-up of a run before it trains: find devices, load data, check settings."""

import os
from dataclasses import dataclass

import keras

from small_vit.data import Dataset, Split, hold_out, load_data, take_balanced
from small_vit.errors import InputError
from small_vit.models.registry import FAMILIES, check_model
from small_vit.results.threshold import positive_class
from small_vit.training.devices import Strategy, choose_strategy
from small_vit.training.factories import class_weight_values
from small_vit.training.start import Source, read_source


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a run needs before it trains.

    Attributes:
        strategy: Where it trains.
        dataset: All its data.
        train: Images to train on.
        validation: Images held out; None without validation.
        class_weights: Weight of each class in the loss, or None.
        positive: Of two classes, the label of the one that metrics are about; else None.
        source: The trained model whose weights it starts from; None for random weights.
    """

    strategy: Strategy
    dataset: Dataset
    train: Split
    validation: Split | None
    class_weights: list[float] | None
    positive: int | None
    source: Source | None


def prepare(config):
    """Find the devices and load the data of a run, so that errors show before training.

    Args:
        config: `ExperimentConfig`.

    Returns:
        `Prepared`.

    Raises:
        InputError: if the config cannot be trained on these devices and data.
    """
    strategy = choose_strategy(config.train.strategy)
    if config.train.batch_size % strategy.devices:
        raise InputError(
            f"batch_size must be a multiple of the {strategy.devices} devices that share a batch. "
            f"Received: {config.train.batch_size}. Change it, or use one device with --strategy."
        )
    _refuse_to_keep_random_weights(config)
    check_model(config.model)
    source = read_source(config)
    dataset = load_data(config.data, config.model.image_size)
    train, validation = split_training_images(dataset, config)
    images = len(train) * config.train.passes_per_epoch
    if config.train.drop_last and images < config.train.batch_size:
        raise InputError(
            f"drop_last leaves no batch in an epoch of {images} images in batches of "
            f"{config.train.batch_size}. Make batch_size smaller, or leave drop_last out."
        )
    if len(train) < strategy.devices:
        raise InputError(
            f"train_examples must be at least 1 for each of the {strategy.devices} devices. "
            f"Received: {len(train)} training images."
        )
    weights = class_weight_values(config.train.class_weights, dataset.class_names, train.labels)
    positive = positive_class(config.data.positive, dataset.class_names, dataset.train.labels)
    return Prepared(strategy, dataset, train, validation, weights, positive, source)


def _refuse_to_keep_random_weights(config):
    train = config.train
    trained = train.init_from is not None or FAMILIES[config.model.kind].trained
    if not trained and (train.freeze or train.layer_decay < 1):
        raise InputError(
            "freeze and layer_decay are for a model that is trained already: name it with "
            "--init-from, or leave them out."
        )


def split_training_images(dataset, config):
    """Return `(train, validation)`: the training images of a run, and its validation images.

    `validation` is None for a run without validation.
    """
    data, seed = config.data, config.train.seed
    if dataset.validation is not None:
        train, validation = dataset.train, dataset.validation
    elif data.validation_split == "none":
        train, validation = dataset.train, None
    elif data.validation_split == "test":
        train, validation = dataset.train, dataset.test
    else:
        train, validation = hold_out(
            dataset.train, data.validation_fraction, data.validation_split, seed
        )
    if data.train_examples is not None:
        train = take_balanced(train, data.train_examples, dataset.num_classes, seed)
    return train, validation


def make_deterministic():
    """Ask the backend for bitwise reproducible operations.

    Raises:
        InputError: if that needs an environment variable that is not set.
    """
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
