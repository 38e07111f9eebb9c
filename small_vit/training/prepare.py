"""Set-up of a run before it trains: find devices, load data, check settings."""

import os

import keras

from small_vit.data import hold_out, load_dataset, take_balanced
from small_vit.errors import InputError
from small_vit.training.devices import choose_strategy


def prepare(config):
    """Find the devices and load the data of a run, so that errors show before training.

    Args:
        config: `ExperimentConfig`.

    Returns:
        `(Strategy, Dataset, Split, Split)`: the last two are for training and validation. The last
        one is None without validation.

    Raises:
        InputError: if the config cannot be trained on these devices and data.
    """
    if getattr(config.model, "num_layers", 1) < 1:
        raise InputError("A run's model needs num_layers of at least 1. Received: 0.")
    strategy = choose_strategy(config.train.strategy)
    if config.train.batch_size % strategy.devices:
        raise InputError(
            f"batch_size must be a multiple of the {strategy.devices} devices that share a batch. "
            f"Received: {config.train.batch_size}. Change it, or use one device with --strategy."
        )
    dataset = load_dataset(config.data.dataset, config.data.data_dir)
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
    return strategy, dataset, train, validation


def split_training_images(dataset, config):
    """Return `(train, validation)`: the training images of a run, and its validation images.

    `validation` is None for a run without validation.
    """
    data, seed = config.data, config.train.seed
    if data.validation_split == "none":
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
