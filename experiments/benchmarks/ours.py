"""Our own train step: the model, optimizer, loss and engine of `run_experiment`."""

import keras
import numpy as np

# What `run_experiment` itself uses, so that what is timed is what it runs.
from small_vit.assembly import build_model, compile_model, precision, with_augmentation
from small_vit.datasets.dataset import Dataset, Split
from small_vit.engine import make_engine

from .parts import PARTS
from .prepared import Prepared, keras_device
from .workload import NUM_CLASSES, with_common_head


def prepare(workload, common_head=False, without=None):
    """Build and compile the model, ready to train.

    Args:
        workload: `Workload`.
        common_head: Whether to cut the model to what all libraries have.
        without: Name in `PARTS` of a part of the step to leave out.

    Returns:
        `Prepared`.
    """
    part = PARTS.get(without)
    config = workload.config
    if common_head:
        config = config.replace(model=with_common_head(config.model))
    if part:
        config = part.change(config)
    device, strategy = keras_device()
    images, labels = workload.data()
    split = Split(images, labels)
    dataset = Dataset("random", split, split, tuple(str(label) for label in range(NUM_CLASSES)))

    with strategy.scope, precision(workload.precision):
        keras.utils.set_random_seed(0)
        classifier = build_model(config, dataset)
        if part:
            part.before_compile(classifier)
        model = with_augmentation(classifier, config.augment)
        engine = make_engine(
            model, split, NUM_CLASSES, config.train.batch_size, config.train.seed, strategy.devices
        )
        compile_model(model, config.train, engine.steps_per_epoch, NUM_CLASSES)
        if part:
            part.after_compile(model)
    epoch = 0

    def run():
        nonlocal epoch
        with strategy.scope:
            engine.run(epoch, epoch + 1, [])
        epoch += 1
        wait_for(model)

    return Prepared(run, device, count_parameters(model))


def wait_for(model):
    """Return when the last update of `model` is done."""
    keras.ops.convert_to_numpy(model.trainable_variables[-1])


def count_parameters(model):
    """Return the number of trainable weights of a Keras model."""
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
