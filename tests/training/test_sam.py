"""Sharpness-aware minimisation against NumPy, and its two passes on every kind of state."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from layer_harness import to_numpy
from small_vit.augment import Mix
from small_vit.config import TrainConfig
from small_vit.data import load_dataset
from small_vit.data.batches import ShuffledBatches
from small_vit.layers import FastDropout
from small_vit.recipes import digits
from small_vit.results.checkpoint import Checkpoint
from small_vit.results.run_directory import RunDirectory
from small_vit.training.classifier import (
    SharpnessAwareTrainingModel,
    TrainingModel,
    build_training_model,
)
from small_vit.training.devices import precision
from small_vit.training.factories import compile_model, make_engine
from small_vit.training.sam import SharpnessAware, perturbation
from tiny import tiny_classifier

RHO = 0.3


class SharpnessAwareSequential(SharpnessAware, keras.Sequential):
    pass


# ------------------------------------------------------- the formulas, in NumPy


def numpy_perturbation(weights, gradients, rho, adaptive):
    """Biases have one axis in the models here, all other weights have two."""
    sizes = [
        np.abs(weight) + 0.01 if adaptive and weight.ndim == 2 else np.ones_like(weight)
        for weight in weights
    ]
    norm = np.sqrt(sum(np.sum((t * g) ** 2) for t, g in zip(sizes, gradients, strict=True)))
    return [rho * t**2 * g / norm for t, g in zip(sizes, gradients, strict=True)]


def numpy_training(weights, loss_and_gradients, steps, rho, adaptive=False, rate=0.1, clip=np.inf):
    """Return the weights after steps of SGD, and the loss before each."""
    losses = []
    for _ in range(steps):
        loss, gradients = loss_and_gradients(weights)
        way = numpy_perturbation(weights, gradients, rho, adaptive)
        _, gradients = loss_and_gradients([w + e for w, e in zip(weights, way, strict=True)])
        norm = np.sqrt(sum(np.sum(g**2) for g in gradients))
        factor = rate * min(1, clip / norm)
        weights = [w - factor * g for w, g in zip(weights, gradients, strict=True)]
        losses.append(loss)
    return weights, losses


def quadratic(x, y):
    def loss_and_gradients(weights):
        error = x @ weights[0] - y
        return np.mean(error**2), [2 * x.T @ error / error.size]

    return loss_and_gradients


def network(x, y):
    """Two dense layers, with tanh between them."""

    def loss_and_gradients(weights):
        kernel1, bias1, kernel2, bias2 = weights
        hidden = np.tanh(x @ kernel1 + bias1)
        error = hidden @ kernel2 + bias2 - y
        outer = 2 * error / error.size
        inner = outer @ kernel2.T * (1 - hidden**2)
        return np.mean(error**2), [x.T @ inner, inner.sum(0), hidden.T @ outer, outer.sum(0)]

    return loss_and_gradients


@pytest.fixture
def batch():
    generator = np.random.default_rng(0)
    return generator.normal(size=(8, 3)), generator.normal(size=(8, 2))


def linear(**kwargs):
    return make([keras.layers.Dense(2, use_bias=False)], **kwargs)


def two_layers(**kwargs):
    return make([keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(2)], **kwargs)


def make(layers, model_class=SharpnessAwareSequential, optimizer=None, loss="mse", **kwargs):
    """A compiled model on three inputs with random weights."""
    kwargs = {"rho": RHO} | kwargs if model_class is SharpnessAwareSequential else kwargs
    model = model_class([keras.Input((3,)), *layers], **kwargs)
    generator = np.random.default_rng(1)
    for weight in model.trainable_variables:
        weight.assign(generator.normal(size=weight.shape))
    model.compile(optimizer or keras.optimizers.SGD(0.1), loss)
    return model


def values(variables):
    return [np.array(to_numpy(variable)) for variable in variables]


def train(model, batch, steps):
    """Return the logged loss of each step."""
    losses = []
    for _ in range(steps):
        model.reset_metrics()
        losses.append(float(model.train_on_batch(*batch, return_dict=True)["loss"]))
    return losses


def assert_close(found, expected, rtol=1e-4, atol=1e-5):
    for each, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(each, other, rtol=rtol, atol=atol)


# ---------------------------------------------------------------- the step


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize(("make_model", "function"), [(linear, quadratic), (two_layers, network)])
def test_steps_equal_numpy_and_the_loss_is_that_at_the_weights(
    make_model, function, adaptive, batch
):
    model = make_model(adaptive=adaptive)
    before = values(model.weights)
    losses = train(model, batch, 5)

    expected, expected_losses = numpy_training(before, function(*batch), 5, RHO, adaptive)
    assert_close(values(model.weights), expected)
    assert_close([losses], [expected_losses])
    plain, _ = numpy_training(before, function(*batch), 5, 0.0)
    assert np.abs(plain[0] - expected[0]).max() > 1e-2


def test_the_perturbation_is_as_long_as_rho_and_points_along_the_gradient():
    generator = np.random.default_rng(2)
    gradients = [generator.normal(size=shape).astype("float32") for shape in [(3, 4), (4,)]]
    tensors = [ops.convert_to_tensor(each) for each in gradients]
    way = values(perturbation([*tensors, None], [1.0] * 3, 0.5)[:2])

    np.testing.assert_allclose(np.sqrt(sum(np.sum(each**2) for each in way)), 0.5, rtol=1e-6)
    ratios = np.concatenate([(w / g).ravel() for w, g in zip(way, gradients, strict=True)])
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-5)
    assert ratios[0] > 0


def test_gradient_clipping_is_of_the_second_gradient(batch):
    model = linear(optimizer=keras.optimizers.SGD(0.1, global_clipnorm=0.2))
    before = values(model.weights)
    train(model, batch, 3)
    expected, _ = numpy_training(before, quadratic(*batch), 3, RHO, clip=0.2)
    assert_close(values(model.weights), expected)


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_loss_scale_does_not_change_the_step(adaptive, batch):
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=2.0**12)
    model = two_layers(adaptive=adaptive, optimizer=scaled)
    before = values(model.weights)
    train(model, batch, 5)
    expected, _ = numpy_training(before, network(*batch), 5, RHO, adaptive)
    assert_close(values(model.weights), expected)


@pytest.mark.parametrize("rho", [0.0, 1e-12])
def test_without_a_radius_it_is_the_optimizer(rho, batch):
    """To 1e-6: the compiler may order sums otherwise."""

    def trained(**kwargs):
        model = two_layers(optimizer=keras.optimizers.AdamW(0.01), **kwargs)
        return train(model, batch, 5), values(model.weights)

    losses, weights = trained(rho=rho)
    expected_losses, expected = trained(model_class=keras.Sequential)
    assert_close([losses, *weights], [expected_losses, *expected], rtol=1e-6, atol=1e-6)


def test_without_a_gradient_the_weights_stay(batch):
    model = linear()
    model.layers[0].kernel.assign(np.zeros((3, 2)))
    for _ in range(2):
        assert train(model, (batch[0], np.zeros((8, 2))), 1) == [0.0]
    np.testing.assert_array_equal(values(model.weights)[0], 0)


def test_in_float16_an_overflow_skips_the_step_and_halves_the_scale(batch):
    with precision("float16"):
        model = two_layers()
    model.optimizer.build(model.trainable_variables)
    before = values(model.weights)
    train(model, (batch[0] * 1e6, batch[1] * 1e6), 1)

    for weight, other in zip(values(model.weights), before, strict=True):
        np.testing.assert_array_equal(weight, other)
    assert float(to_numpy(model.optimizer.dynamic_scale)) == 2.0**14

    model.optimizer.dynamic_scale.assign(2.0**8)
    train(model, batch, 3)
    expected, _ = numpy_training(before, network(*batch), 3, RHO)
    assert_close(values(model.weights), expected, rtol=2e-2, atol=2e-2)


# ------------------------------------------------------------------ states


class MaskedSum(keras.layers.Layer):
    """The sum of a dropout mask times the weights: its gradient is the mask."""

    def build(self, input_shape):
        self.kernel = self.add_weight((50,), initializer="zeros", name="kernel")
        self.dropout = FastDropout(0.5, seed=4)

    def call(self, inputs, training=False):
        mask = self.dropout(ops.ones((50,)), training=training)
        return ops.sum(inputs, -1, keepdims=True) * 0 + ops.sum(mask * self.kernel)


def test_both_passes_draw_the_same_mask_and_each_step_the_next(batch):
    model = make([MaskedSum()], loss=lambda targets, outputs: outputs)
    same = FastDropout(0.5, seed=4)
    for _ in range(3):
        (before,) = values(model.trainable_variables)
        (loss,) = train(model, batch, 1)
        (after,) = values(model.trainable_variables)

        mask = to_numpy(same(ops.ones((50,)), training=True))
        assert 10 < np.count_nonzero(mask) < 40
        np.testing.assert_allclose(before - after, 0.1 * mask, atol=1e-5)
        np.testing.assert_allclose(loss, np.sum(mask * before), rtol=1e-5)


def test_moving_averages_and_random_states_are_those_of_a_plain_step(batch):
    def layers():
        dense = keras.layers.Dense(4)
        return [dense, keras.layers.BatchNormalization(), keras.layers.Dropout(0.5, seed=1)]

    def states(model_class):
        model = make([*layers(), keras.layers.Dense(2)], model_class)
        train(model, batch, 1)
        return values(model.non_trainable_variables)

    found, expected = states(SharpnessAwareSequential), states(keras.Sequential)
    assert len(found) == 3
    assert_close(found, expected, atol=1e-6)


class PartlyUsed(keras.layers.Dense):
    """With a weight on which nothing depends."""

    def build(self, input_shape):
        super().build(input_shape)
        self.unused = self.add_weight((2,), name="unused")


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_frozen_and_unused_weights_stay_and_do_not_count(batch):
    frozen = keras.layers.Dense(3, trainable=False)
    model = make([frozen, PartlyUsed(2, use_bias=False)])
    before = values(frozen.weights)
    kernel, unused = values(model.trainable_variables)
    train(model, batch, 3)

    for weight, other in zip(values(frozen.weights), before, strict=True):
        np.testing.assert_array_equal(weight, other)
    inputs = batch[0] @ before[0] + before[1]
    expected, _ = numpy_training([kernel], quadratic(inputs, batch[1]), 3, RHO)
    assert_close(values(model.trainable_variables), [*expected, unused])


def test_penalties_of_weights_and_outputs_are_of_the_perturbed_weights(batch):
    penalty = keras.regularizers.L2(0.1)
    layer = keras.layers.Dense(
        2, use_bias=False, kernel_regularizer=penalty, activity_regularizer=penalty
    )
    model = make([layer])
    before = values(model.weights)
    losses = train(model, batch, 3)

    def loss_and_gradients(weights):
        """Keras divides what outputs cost by the number of examples."""
        loss, (gradient,) = quadratic(*batch)(weights)
        x, (kernel,) = batch[0], weights
        penalties = np.sum(kernel**2) + np.sum((x @ kernel) ** 2) / len(x)
        return loss + 0.1 * penalties, [gradient + 0.2 * (kernel + x.T @ x @ kernel / len(x))]

    expected, expected_losses = numpy_training(before, loss_and_gradients, 3, RHO)
    assert_close(values(model.weights), expected)
    assert_close([losses], [expected_losses])


# ----------------------------------------------------------------- the run


def sam_engine():
    """Dropout, stochastic depth and mixing: all of them draw."""
    keras.utils.set_random_seed(0)
    classifier = tiny_classifier(dropout=0.1, stochastic_depth=0.1)
    model = SharpnessAwareTrainingModel(classifier, mix=Mix(0.5), rho=0.5, adaptive=True)
    batches = ShuffledBatches(load_dataset("digits").train.subset(slice(96)), 10, 32, seed=0)
    compile_model(model, TrainConfig(), len(batches), num_classes=10)
    return make_engine(model, batches)


class Record(keras.callbacks.Callback):
    """Notes losses, and saves a checkpoint within the epoch if it has a directory."""

    def __init__(self, directory=None):
        super().__init__()
        self.directory, self.losses, self.saved = directory, [], 0

    def on_train_batch_end(self, batch, logs=None):
        if self.directory and not self.saved and batch >= 1:
            self.saved = batch + 1
            self.directory.save_checkpoint(self.model, Checkpoint(step=batch + 1))

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(float(logs["loss"]))


def test_a_training_goes_on_within_an_epoch_bit_by_bit(tmp_path, monkeypatch):
    """And a step with its two passes draws each mask once."""
    if keras.backend.backend() == "jax":
        monkeypatch.setattr("small_vit.training.jax_engine.SECONDS_PER_CALL", 0.0)
    whole, rest = Record(RunDirectory(tmp_path)), Record()
    engines = sam_engine(), sam_engine()
    engines[0].run(0, 2, [whole])
    checkpoint = RunDirectory(tmp_path).restore_checkpoint(engines[1].model)
    assert checkpoint.step == whole.saved == 2
    engines[1].run(0, 2, [rest], checkpoint.step)

    assert rest.losses == whole.losses
    weights, others = (values(engine.model.variables) for engine in engines)
    for weight, other in zip(weights, others, strict=True):
        np.testing.assert_array_equal(weight, other)

    states = [each for each in engines[0].model.classifier.variables if "seed" in each.path]
    draws = [int(ops.convert_to_numpy(state)[1]) for state in states]
    assert set(draws) <= {0, 6}  # two epochs of three steps
    assert draws.count(6) > 3


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="elsewhere Keras decides")
def test_xla_compiles_the_step(batch):
    model = two_layers()
    before = values(model.weights)
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=True)
    train(model, batch, 3)
    expected, _ = numpy_training(before, network(*batch), 3, RHO)
    assert_close(values(model.weights), expected)


@pytest.mark.parametrize("rho", [0.0, 0.05])
def test_the_settings_choose_the_model(rho):
    config = digits().replace(train={"sam_rho": rho, "sam_adaptive": rho > 0})
    model = build_training_model(config, load_dataset("digits"))
    assert type(model) is (SharpnessAwareTrainingModel if rho else TrainingModel)
    if rho:
        assert (model.rho, model.adaptive) == (0.05, True)


ON_TWO_DEVICES = """
import os, sys
if os.environ["KERAS_BACKEND"] == "tensorflow":
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
import numpy as np
from small_vit.training.devices import choose_strategy
from small_vit.training.sam import SharpnessAware

class SharpnessAwareSequential(SharpnessAware, keras.Sequential):
    pass

given = np.load(sys.argv[1])
strategy = choose_strategy("cpu")
assert strategy.devices == 2
with strategy.scope():
    layers = [keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(2)]
    model = SharpnessAwareSequential([keras.Input((3,)), *layers], rho=0.3)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.set_weights([given[f"arr_{number}"] for number in range(4)])
    losses = model.fit(given["x"], given["y"], 8, epochs=4, shuffle=False, verbose=0).history
np.savez(sys.argv[2], *model.get_weights(), losses=losses["loss"])
"""


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="it trains on one device")
def test_two_devices_perturb_by_the_gradient_of_the_whole_batch(batch, tmp_path):
    before = values(two_layers().weights)
    np.savez(tmp_path / "given.npz", *before, x=batch[0], y=batch[1])
    environment = os.environ | {
        "KERAS_BACKEND": keras.backend.backend(),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    paths = [str(tmp_path / name) for name in ("given.npz", "found.npz")]
    command = [sys.executable, "-c", ON_TWO_DEVICES, *paths]
    subprocess.run(command, env=environment, check=True, timeout=120)

    expected, losses = numpy_training(before, network(*batch), 4, RHO)
    found = np.load(tmp_path / "found.npz")
    assert_close([found[f"arr_{number}"] for number in range(4)], expected)
    assert_close([found["losses"]], [losses])
