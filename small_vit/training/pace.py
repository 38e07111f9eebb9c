"""How many epochs of a run fit into a given time, from steps that are measured first."""

import math
import time

import keras

from small_vit import hosts
from small_vit.errors import InputError
from small_vit.results.predictions import predict_split
from small_vit.training.assemble import assemble
from small_vit.training.devices import precision
from small_vit.training.prepare import make_deterministic, prepare

SECONDS_TO_MEASURE = 10.0
"""Steps are measured for this long, without the calls that compile."""

MARGIN = 0.9
"""Part of the time to plan for; the rest is for the report and for a machine that slows down."""


class _Stopwatch(keras.callbacks.Callback):
    """Times the steps, and stops training when they have taken long enough.

    An engine may run many steps in a call. The first call compiles the step for full batches, the
    first one that ends an epoch compiles it for its last batch, which may be smaller: these two do
    not count.

    Args:
        steps_per_epoch: Steps of an epoch.
    """

    steps = 0
    seconds = ended = 0.0

    def __init__(self, steps_per_epoch):
        super().__init__()
        self.steps_per_epoch = steps_per_epoch
        self.compiled = set()

    def on_train_batch_begin(self, batch, logs=None):
        """Record where the call begins."""
        self.first = batch

    def on_train_batch_end(self, batch, logs=None):
        """Count the steps of the call."""
        keras.tree.map_structure(keras.ops.convert_to_numpy, self.model.get_metrics_result())
        started, self.ended = self.ended, time.perf_counter()
        kind = batch + 1 == self.steps_per_epoch
        if kind in self.compiled:
            self.steps += batch + 1 - self.first
            self.seconds += self.ended - started
        self.compiled.add(kind)
        # Hosts have different clocks, and all must make the same calls.
        self.model.stop_training = bool(hosts.from_first(self.seconds > SECONDS_TO_MEASURE))


def epochs_within(config, minutes):
    """Return the number of epochs that a run of `config` can train in `minutes`, with its test.

    It trains a copy of the model for some seconds. That time, and the time to load the data and to
    compile, counts.

    Args:
        config: `ExperimentConfig`; its `epochs` do not count.
        minutes: Minutes for the whole run.

    Raises:
        InputError: if not one epoch fits, or for what `prepare` refuses.
    """
    started = time.perf_counter()
    prepared = prepare(config)
    if config.train.deterministic:
        make_deterministic()  # Its steps may be slower.
    loaded = time.perf_counter()
    with prepared.strategy.scope(), precision(config.train.precision):
        model, engine = assemble(config, prepared)
        stopwatch = _Stopwatch(len(engine.batches))
        engine.run(0, 10**6, [stopwatch])
        seconds_per_image = _predict_seconds(model, prepared.train, config.train.batch_size)
    # The run compiles again, but finds the images decoded.
    ended = time.perf_counter()
    overhead = (ended - started) + (ended - loaded - stopwatch.seconds)
    overhead += seconds_per_image * len(prepared.dataset.test)
    per_epoch = len(engine.batches) * stopwatch.seconds / stopwatch.steps
    if prepared.validation is not None:
        per_epoch += seconds_per_image * len(prepared.validation)
    epochs = hosts.from_first(math.floor((MARGIN * 60 * minutes - overhead) / per_epoch))
    if epochs < 1:
        needed = (overhead + per_epoch) / MARGIN / 60
        raise InputError(
            f"--minutes {minutes:g} is too short for one epoch of {per_epoch:.1f} s, which needs "
            f"{needed:.1f} minutes in all. Give it more, or train a smaller model."
        )
    return epochs


def _predict_seconds(model, split, batch_size):
    """Seconds to classify one image, measured on a few batches after the first."""
    images = split.subset(slice(4 * batch_size))
    predict_split(model, images.subset(slice(1)), batch_size)
    started = time.perf_counter()
    predict_split(model, images, batch_size)
    return (time.perf_counter() - started) / len(images)
