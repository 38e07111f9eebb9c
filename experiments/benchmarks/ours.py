"""Our own train step: the model, optimizer, loss and engine of `run_experiment`."""

import itertools

import keras

from small_vit.data.batches import ShuffledBatches
from small_vit.data.dataset import Dataset
from small_vit.data.split import Split

# The functions that `run_experiment` itself uses.
from small_vit.training.classifier import build_training_model
from small_vit.training.devices import precision
from small_vit.training.factories import compile_model, make_engine

from .workload import NUM_CLASSES


def prepare(workload, model, strategy):
    """Build and compile our model, ready to train.

    Args:
        workload: `Workload`.
        model: Config of a model; it replaces that of the workload.
        strategy: `Strategy` to build it under.

    Returns:
        `(model, train)`: a `keras.Model`, and a function that trains the workload's steps.
    """
    config = workload.config.replace(model=model)
    train = config.train
    split = Split(*workload.data())
    dataset = Dataset("random", split, split, tuple(str(label) for label in range(NUM_CLASSES)))
    with strategy.scope(), precision(workload.precision):
        keras.utils.set_random_seed(0)
        classifier = build_training_model(config, dataset)
        batches = ShuffledBatches(
            split, NUM_CLASSES, train.batch_size, train.seed, strategy.devices
        )
        compile_model(classifier, train, len(batches), NUM_CLASSES)
        engine = make_engine(classifier, batches)
    epochs = itertools.count()

    def train_epoch():
        epoch = next(epochs)
        engine.run(epoch, epoch + 1, [])

    return classifier, train_epoch
