"""Our own train step: the model, optimizer, loss and engine of `run_experiment`."""

import keras

# What `run_experiment` itself uses, so that what is timed is what it runs.
from small_vit.assembly import build_model, compile_model, precision, with_augmentation
from small_vit.batches import ShuffledBatches
from small_vit.datasets.dataset import Dataset, Split
from small_vit.engine import make_engine

from .prepared import Prepared, count_parameters, keras_device, wait_for
from .workload import NUM_CLASSES


def prepare(workload, change):
    """Build and compile the model, ready to train.

    Args:
        workload: `Workload`.
        change: `Change` to the step.

    Returns:
        `Prepared`.
    """
    config = change.config(workload.config)
    change.before_build()
    device, strategy = keras_device()
    images, labels = workload.data()
    split = Split(images, labels)
    dataset = Dataset("random", split, split, tuple(str(label) for label in range(NUM_CLASSES)))

    with strategy.scope(), precision(workload.precision):
        keras.utils.set_random_seed(0)
        classifier = build_model(config, dataset)
        change.before_compile(classifier)
        model = with_augmentation(classifier, config.augment)
        train = config.train
        batches = ShuffledBatches(
            split, NUM_CLASSES, train.batch_size, train.seed, strategy.devices
        )
        compile_model(model, train, len(batches), NUM_CLASSES)
        engine = make_engine(model, batches)
        change.after_compile(engine)
    epoch = 0

    def run():
        nonlocal epoch
        with strategy.scope():
            engine.run(epoch, epoch + 1, [])
        epoch += 1
        wait_for(model)

    return Prepared(run, device, count_parameters(model))
