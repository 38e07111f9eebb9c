"""How many epochs of a run fit into a given time, from steps that are measured first."""

import math
import time

import keras

from small_vit.data.batches import ShuffledBatches
from small_vit.errors import InputError
from small_vit.results.predictions import predict_logits
from small_vit.training.classifier import build_training_model
from small_vit.training.devices import precision
from small_vit.training.factories import compile_model, make_engine
from small_vit.training.prepare import prepare

SECONDS_TO_MEASURE = 10.0
"""Steps are measured for this long, after the first calls, which compile."""

MARGIN = 0.9
"""Part of the time to plan for; the rest is for the report and for a machine that slows down."""


class _Stopwatch(keras.callbacks.Callback):
    """Times the steps after the second call, and stops training when they have taken long enough.

    An engine may run many steps in a call. The first two calls compile the step for full batches
    and for the last, smaller one of an epoch.
    """

    calls = steps = 0
    started = seconds = 0.0

    def on_train_batch_begin(self, batch, logs=None):
        """Record where the call begins."""
        self.first = batch

    def on_train_batch_end(self, batch, logs=None):
        """Count the steps of the call."""
        keras.tree.map_structure(keras.ops.convert_to_numpy, self.model.get_metrics_result())
        self.calls += 1
        if self.calls <= 2:
            self.started = time.perf_counter()
            return
        self.steps += batch + 1 - self.first
        self.seconds = time.perf_counter() - self.started
        self.model.stop_training = self.seconds > SECONDS_TO_MEASURE


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
    with prepared.strategy.scope(), precision(config.train.precision):
        model = build_training_model(config, prepared.dataset)
        batches = ShuffledBatches(
            prepared.train,
            prepared.dataset.num_classes,
            config.train.batch_size,
            config.train.seed,
            prepared.strategy.devices,
            config.train.passes_per_epoch,
            config.train.drop_last,
            config.train.balanced_sampling,
        )
        compile_model(
            model, config.train, len(batches), prepared.dataset.num_classes, prepared.class_weights
        )
        stopwatch = _Stopwatch()
        engine = make_engine(model, batches)
        engine.run(0, 10**6, [stopwatch])
        seconds_per_image = _predict_seconds(model, prepared.train, config.train.batch_size)
    # The run compiles again, so the measurement's own time stands for that.
    overhead = 2 * (time.perf_counter() - started) - SECONDS_TO_MEASURE
    overhead += seconds_per_image * len(prepared.dataset.test)
    per_epoch = len(batches) * stopwatch.seconds / stopwatch.steps
    if prepared.validation is not None:
        per_epoch += seconds_per_image * len(prepared.validation)
    epochs = math.floor((MARGIN * 60 * minutes - overhead) / per_epoch)
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
    predict_logits(model, images.subset(slice(1)), batch_size)
    started = time.perf_counter()
    predict_logits(model, images, batch_size)
    return (time.perf_counter() - started) / len(images)
