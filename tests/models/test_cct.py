"""The compact convolutional transformer against NumPy and against published sizes."""

import math
from functools import cache

import keras
import numpy as np
import pytest
from numpy_transformer import NumpyTransformer, dense, randomized, without_gradient
from scipy.special import softmax

from layer_harness import BACKEND, close, close_layer_by_layer, logits_of, to_numpy
from small_vit.errors import InputError
from small_vit.models.registry import (
    FAMILIES,
    backbone_and_head,
    build_classifier,
    count_multiply_adds,
    model_config,
    named_model,
)

SMALL = {"image_size": 8, "projection_dim": 8, "num_layers": 1, "num_heads": 2}
LSA = {"temperature": "head", "diagonal_mask": True}
CASES = {
    "lsa": ({"conv_layers": 2, "num_layers": 2, "mlp_ratio": 1.0} | LSA, (8, 8, 1)),
    "larger-kernel": ({"kernel_size": 7, "image_size": (14, 23)}, (14, 23, 3)),
    "even-kernel": ({"kernel_size": 4, "image_size": (9, 6)}, (9, 6, 3)),
}
# It shifts all scores alike, which a softmax does not see: its true gradient is zero.
NO_GRADIENT = "pooling/bias"


@cache
def made(name):
    """A small model with random weights: its config, image shape and the model."""
    fields, shape = CASES[name]
    config = model_config("cct", **(SMALL | fields))
    return config, shape, randomized(build_classifier(config, shape, 5))


@cache
def published(name):
    """A model by its name, for CIFAR-10."""
    config = named_model(name)
    return config, build_classifier(config, (32, 32, 3), 10)


def images_of(shape, batch=3):
    return np.random.default_rng(1).normal(size=(batch, *shape)).astype("float32")


class Reference(NumpyTransformer):
    """The model in NumPy from the paper's formulas, with a model's weights."""

    def outputs(self, x):
        for number in range(self.config.conv_layers):
            x = self.convolved(x, f"conv_{number}", self.config.kernel_size)
            yield f"pool_{number}", x
        x = x.reshape(len(x), -1, x.shape[-1])
        x = x + self.weights("encoder")["encoder/position_embedding"]
        yield "encoder", x
        for number in range(self.config.num_layers):
            x = self.block(x, f"block_{number}")
            yield f"block_{number}", x
        x = self.norm(x, self.weights("norm"), "norm")
        yield "norm", x
        scores = dense(x, self.weights("pooling"), "pooling")[..., 0]
        x = np.einsum("bt,btd->bd", softmax(scores, axis=1), x)
        yield "pooling", x
        yield "logits", dense(x, self.weights("logits"), "logits")


@pytest.mark.parametrize("name", CASES)
def test_each_layer_against_numpy(name):
    config, shape, model = made(name)
    images = images_of(shape)
    close_layer_by_layer(model, images, Reference(model, config, 1e-5).outputs(images))


def test_a_saved_model_loads(tmp_path):
    _, shape, model = made("lsa")
    model.save(tmp_path / "model.keras")

    loaded = keras.saving.load_model(tmp_path / "model.keras")

    images = images_of(shape)
    close(logits_of(loaded, images), logits_of(model, images), 1e-6)


def test_every_trainable_variable_gets_a_gradient():
    fields, shape = CASES["lsa"]
    off = {"attention_dropout": 0.0, "stochastic_depth": 0.0}
    model = randomized(build_classifier(model_config("cct", **(SMALL | fields | off)), shape, 5))
    lost = without_gradient(model, images_of(shape))
    assert [path for path in lost if path != NO_GRADIENT] == []


@pytest.mark.parametrize(
    ("name", "parameters", "rounded", "work"),
    [
        ("CCT-2/3x2", 283_723, 0.284e6, 0.033e9),
        ("CCT-7/3x1", 3_760_139, 3.760e6, 0.947e9),
    ],
)
def test_the_models_for_cifar_have_the_published_size_and_work(name, parameters, rounded, work):
    """Published: the authors' repository. Its work is without the two products in a softmax."""
    config, model = published(name)
    shapes = [variable.shape for variable in model.trainable_variables]
    assert sum(map(math.prod, shapes)) == parameters
    assert round(parameters, -3) == rounded
    counted = count_multiply_adds(config, (32, 32, 3), 10)
    assert counted.total - counted.attention == pytest.approx(work, rel=0.01)


@pytest.mark.skipif(BACKEND != "jax", reason="XLA's own count, as JAX tells it")
@pytest.mark.parametrize("name", ["CCT-2/3x2", "CCT-7/3x1"])
def test_forward_flops_are_the_compilers_count(name):
    import jax

    config, model = published(name)

    def forward(trainable, non_trainable, images):
        return model.stateless_call(trainable, non_trainable, images, training=False)[0]

    groups = model.trainable_variables, model.non_trainable_variables
    values = [[variable.value for variable in group] for group in groups]
    images = np.zeros((2, 32, 32, 3), "uint8")
    analysis = jax.jit(forward).lower(*values, images).cost_analysis()
    counted = 2 * 2 * count_multiply_adds(config, (32, 32, 3), 10).total
    # XLA counts softmax, norms, GELU and max-pools too.
    assert counted < analysis["flops"] < 1.25 * counted


@pytest.mark.parametrize("name", CASES)
def test_counts_are_those_of_the_layers(name):
    config, shape, model = made(name)
    counted = count_multiply_adds(config, shape, 5)
    layers = [each for each in model.layers if isinstance(each, keras.layers.Conv2D)]
    assert len(layers) == config.conv_layers
    assert counted.tokenizer == sum(
        np.prod(each.output.shape[1:3]) * np.prod(each.kernel.shape) for each in layers
    )
    tokens = model.get_layer("encoder").output.shape[1]
    assert counted.attention == config.num_layers * 2 * tokens**2 * config.projection_dim


def test_initial_values_are_those_of_the_authors():
    """N(0, 0.2) positions, N(0, 0.02) kernels, He-normal convolutions."""
    _, model = published("CCT-2/3x2")
    deviations = {
        variable.path: to_numpy(variable).std()
        for variable in model.trainable_variables
        if variable.name in ("kernel", "position_embedding") and 1 not in variable.shape
    }
    assert deviations.pop("encoder/position_embedding") == pytest.approx(0.2, rel=0.05)
    assert deviations.pop("conv_0/kernel") == pytest.approx(np.sqrt(2 / 27), rel=0.1)
    assert deviations.pop("conv_1/kernel") == pytest.approx(np.sqrt(2 / 576), rel=0.05)
    assert list(deviations.values()) == pytest.approx([0.02] * 13, rel=0.1)


def test_stochastic_depth_rises_from_zero():
    config = model_config("cct", **(SMALL | {"num_layers": 3}), stochastic_depth=0.2)
    model = build_classifier(config, (8, 8, 1), 3)
    rates = [model.get_layer(f"block_{number}").stochastic_depth for number in range(3)]
    assert rates == pytest.approx([0, 0.1, 0.2])


def test_lsa_is_what_the_plain_version_leaves_out():
    config = model_config("cct", **SMALL, temperature="layer", diagonal_mask=True)
    plain = config.replace(**FAMILIES["cct"].plain)
    assert plain == model_config("cct", **SMALL)
    with_lsa, without = (build_classifier(each, (8, 8, 1), 3) for each in (config, plain))
    assert with_lsa.count_params() == without.count_params() + config.num_layers


def test_images_are_resized_and_the_head_is_one_linear_layer():
    model = build_classifier(model_config("cct", **SMALL), (12, 10, 1), 3)
    assert model.get_layer("resize").output.shape == (None, 8, 8, 1)
    backbone, head = backbone_and_head(model)
    assert backbone.output_shape == (None, 8)
    assert len(head.trainable_weights) == 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"conv_layers": 0}, "conv_layers must be at least 1"),
        ({"kernel_size": 0}, "kernel_size must be at least 1"),
        ({"num_heads": 3}, "projection_dim must be divisible by num_heads=3"),
        ({"num_layers": -1}, "num_layers must be at least 0"),
        ({"mlp_ratio": 0}, "mlp_ratio must be large enough"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1"),
        ({"temperature": "token"}, "temperature is one of"),
        ({"image_size": (8, 0)}, "image_size must be a positive int"),
    ],
)
def test_wrong_settings_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        model_config("cct", **fields)
