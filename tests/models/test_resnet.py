"""The residual network against NumPy, against published sizes, and through a training."""

import math
from functools import cache

import keras
import numpy as np
import pytest

from layer_harness import BACKEND, close, close_layer_by_layer, logits_of, to_numpy
from small_vit.data import load_dataset
from small_vit.data.batches import ShuffledBatches
from small_vit.errors import InputError
from small_vit.models.registry import (
    backbone_and_head,
    build_classifier,
    count_multiply_adds,
    model_config,
)
from small_vit.models.resnet.config import STAGES
from small_vit.recipes import digits
from small_vit.results.checkpoint import Checkpoint, restore_checkpoint, save_checkpoint
from small_vit.training.classifier import build_training_model
from small_vit.training.factories import compile_model, make_engine

# Sides that are odd somewhere on the way down.
CASES = {
    "depth-20": ({"depth": 20, "image_size": (10, 14)}, (10, 14, 3)),
    "depth-18": ({"depth": 18, "image_size": (6, 10)}, (6, 10, 1)),
    "large-stem": ({"depth": 18, "stem": "large", "image_size": (22, 34)}, (22, 34, 3)),
}
# With these numbers of channels and blocks a network compiles in no time.
NARROW = {18: ((4, 1), (6, 2)), 20: ((4, 2), (6, 1), (8, 1))}


@pytest.fixture
def narrow(monkeypatch):
    for depth, stages in NARROW.items():
        monkeypatch.setitem(STAGES, depth, stages)


@pytest.fixture
def undrawn(monkeypatch):
    """Kernels of zeros, for tests of sizes: to draw millions of values takes seconds."""
    monkeypatch.setattr(
        keras.initializers.HeNormal, "__call__", lambda self, shape, dtype: np.zeros(shape, dtype)
    )


@cache
def made(name):
    """A narrow network, with no norm at its initial values: config, image shape, model."""
    fields, shape = CASES[name]
    config = model_config("resnet", **fields)
    keras.utils.set_random_seed(0)
    model = build_classifier(config, shape, 5)
    rng = np.random.default_rng(0)
    draw = {
        "gamma": lambda size: rng.uniform(0.5, 1.5, size),
        "beta": lambda size: rng.normal(scale=0.1, size=size),
        "moving_mean": lambda size: rng.normal(scale=0.1, size=size),
        "moving_variance": lambda size: rng.uniform(0.5, 2.0, size),
    }
    for variable in model.weights:
        if variable.name in draw:
            variable.assign(draw[variable.name](variable.shape).astype("float32"))
    return config, shape, model


def images_of(shape, batch=2):
    return np.random.default_rng(1).normal(size=(batch, *shape)).astype("float32")


class Reference:
    """The network in NumPy, as the paper's figures 3 and 5 draw it, with a model's weights."""

    def __init__(self, model, config):
        self.model, self.config = model, config

    def weights(self, layer):
        return [to_numpy(each).astype("float64") for each in self.model.get_layer(layer).weights]

    def outputs(self, x):
        """Pairs of a layer's name and its output."""
        large = self.config.stem == "large"
        x = np.maximum(self.convolved(x, "stem", 2 if large else 1), 0)
        yield "stem_relu", x
        if large:
            x = windows(x, 3, 2, fill=-np.inf).max((-2, -1))
            yield "stem_pool", x
        for stage, (_, number) in enumerate(NARROW[self.config.depth]):
            for block in range(number):
                x = self.block(x, f"block_{stage}_{block}", 2 if stage and not block else 1)
                yield f"block_{stage}_{block}_relu", x
        x = x.mean((1, 2))
        yield "pooling", x
        kernel, bias = self.weights("logits")
        yield "logits", x @ kernel + bias

    def block(self, x, name, stride):
        y = np.maximum(self.convolved(x, f"{name}_first", stride), 0)
        y = self.convolved(y, f"{name}_second", 1)
        if y.shape != x.shape and self.config.depth == 18:
            x = self.convolved(x, f"{name}_shortcut", stride)
        elif y.shape != x.shape:
            zeros = np.zeros((*y.shape[:3], y.shape[3] - x.shape[3]))
            x = np.concatenate([x[:, ::stride, ::stride], zeros], axis=-1)
        return np.maximum(x + y, 0)

    def convolved(self, x, name, stride):
        (kernel,) = self.weights(f"{name}_conv")
        gamma, beta, mean, variance = self.weights(f"{name}_norm")
        x = windows(x, len(kernel), stride)
        x = np.tensordot(x, kernel, ([4, 5, 3], [0, 1, 2]))
        return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta


def windows(x, size, stride, fill=0.0):
    """(batch, rows, columns, channels, size, size) of `x`, padded by size // 2 on every side."""
    half = size // 2
    x = np.pad(x, ((0, 0), (half, half), (half, half), (0, 0)), constant_values=fill)
    view = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
    return view[:, ::stride, ::stride]


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("name", CASES)
def test_each_layer_against_numpy(name):
    config, shape, model = made(name)
    images = images_of(shape)
    close_layer_by_layer(model, images, Reference(model, config).outputs(images))


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("name", CASES)
def test_multiply_adds_are_those_of_the_layers(name):
    config, shape, model = made(name)
    assert count_multiply_adds(config, shape, 5).total == work_of(model)


def work_of(model):
    """Multiply-adds from the shapes of a built model's layers."""
    work = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            work += math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape)
        elif isinstance(layer, keras.layers.Dense):
            work += math.prod(layer.kernel.shape)
    return work


@pytest.mark.usefixtures("narrow")
def test_a_saved_model_loads(tmp_path):
    _, shape, model = made("depth-20")
    model.save(tmp_path / "model.keras")

    loaded = keras.saving.load_model(tmp_path / "model.keras")

    images = images_of(shape)
    close(logits_of(loaded, images), logits_of(model, images), 1e-6)


@pytest.mark.usefixtures("narrow")
def test_images_are_resized_and_the_head_is_one_linear_layer():
    model = build_classifier(model_config("resnet", image_size=8), (12, 10, 1), 3)
    assert model.get_layer("resize").output.shape == (None, 8, 8, 1)
    backbone, head = backbone_and_head(model)
    assert backbone.output_shape == (None, 8)
    assert len(head.trainable_weights) == 2


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("depth", "published", "parameters"),
    [(20, 0.27e6, 269_722), (56, 0.85e6, 853_018), (110, 1.7e6, 1_727_962)],
)
def test_the_networks_for_cifar_have_the_published_size(depth, published, parameters):
    config = model_config("resnet", depth=depth)
    model = build_classifier(config, (32, 32, 3), 10)
    assert trainable_parameters(model) == parameters
    assert round(parameters, -4 if depth < 110 else -5) == published
    # As many layers as the name says: convolutions and the head.
    kernels = [each for each in model.trainable_variables if each.name == "kernel"]
    assert len(kernels) == depth
    assert count_multiply_adds(config, (32, 32, 3), 10).total == work_of(model)


@pytest.mark.usefixtures("undrawn")
def test_the_network_for_imagenet_has_the_published_size_and_work():
    config = model_config("resnet", depth=18, stem="large", image_size=224)
    model = build_classifier(config, (224, 224, 3), 1000)
    assert trainable_parameters(model) == 11_689_512  # torchvision's
    work = count_multiply_adds(config, (224, 224, 3), 1000).total
    assert work == work_of(model)
    assert round(work, -8) == 1.8e9  # the paper's table 1


def trainable_parameters(model):
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


@pytest.mark.usefixtures("narrow")
def test_running_statistics_move_by_a_tenth():
    """The statistics of a batch are over images and pixels."""
    _, shape, model = made("large-stem")
    norm = model.get_layer("stem_norm")
    stem = keras.Model(model.input, norm.output)
    before = [to_numpy(each) for each in (norm.moving_mean, norm.moving_variance)]
    images = images_of(shape, batch=4)
    kernel = to_numpy(model.get_layer("stem_conv").kernel)
    convolved = np.tensordot(windows(images, 7, 2), kernel, ([4, 5, 3], [0, 1, 2]))

    stem(images, training=True)

    moments = convolved.mean((0, 1, 2)), convolved.var((0, 1, 2))
    after = norm.moving_mean, norm.moving_variance
    for start, moment, end in zip(before, moments, after, strict=True):
        close(end, 0.9 * start + 0.1 * moment, 1e-4)


@pytest.mark.usefixtures("narrow")
def test_logits_are_float32_in_mixed_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_classifier(model_config("resnet", image_size=8), (8, 8, 1), 3)
    finally:
        keras.config.set_dtype_policy(policy)
    logits = logits_of(model, np.zeros((2, 8, 8, 1), "uint8"))
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    assert np.isfinite(to_numpy(logits)).all()


class SaveAt(keras.callbacks.Callback):
    """Saves the state after the second step."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            save_checkpoint(self.path, self.model, Checkpoint(step=2))


@pytest.mark.usefixtures("narrow")
def test_training_moves_all_and_goes_on_from_a_checkpoint_bit_by_bit(tmp_path, monkeypatch):
    """Without decay, SGD leaves a variable without a gradient where it is."""
    if BACKEND == "jax":
        from small_vit.training import jax_engine

        monkeypatch.setattr(jax_engine, "SECONDS_PER_CALL", 0.0)  # one step a call
    sgd = {"optimizer": "sgd", "decay_rule": "scaled", "weight_decay": 0.0, "batch_size": 16}
    config = digits().replace(model=model_config("resnet", image_size=8), train=sgd)
    dataset = load_dataset("digits")
    keras.utils.set_random_seed(0)
    model = build_training_model(config, dataset)
    batches = ShuffledBatches(dataset.train.subset(slice(64)), 10, 16, seed=0)
    compile_model(model, config.train, len(batches), dataset.num_classes)
    engine = make_engine(model, batches)
    classifier = model.classifier
    start = values_of(classifier.weights)

    engine.run(0, 1, [SaveAt(tmp_path / "checkpoint.npz")])
    end = values_of(model.variables)

    moved = dict(zip((each.path for each in classifier.weights), start, strict=True))
    assert [
        variable.path
        for variable in classifier.weights
        if (to_numpy(variable) == moved[variable.path]).all()
    ] == []

    restore_checkpoint(tmp_path / "checkpoint.npz", model)
    engine.run(0, 1, [], initial_step=2)
    for value, again in zip(end, values_of(model.variables), strict=True):
        np.testing.assert_array_equal(value, again)


def values_of(variables):
    return [np.array(keras.ops.convert_to_numpy(each)) for each in variables]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depth": 34}, "depth is one of"),
        ({"stem": "huge"}, "stem is one of"),
        ({"stem": "large"}, "stem must be 'small' for depth=20"),
        ({"image_size": 0}, "image_size must be a positive int"),
    ],
)
def test_wrong_settings_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        model_config("resnet", **fields)
