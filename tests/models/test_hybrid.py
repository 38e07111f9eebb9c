"""A ViT on the feature map of convolutions, on patches as a convolution, and its head of zeros."""

import math
from functools import cache

import keras
import numpy as np
import pytest
from numpy_transformer import NumpyTransformer, dense, randomized, without_gradient

from layer_harness import close, close_layer_by_layer, logits_of, normal, to_numpy, weights_of
from small_vit import ShiftedPatchTokenization
from small_vit.errors import InputError
from small_vit.models.registry import (
    backbone_and_head,
    build_classifier,
    count_multiply_adds,
    model_config,
    named_model,
)
from small_vit.sizes import as_pair

SMALL = {"projection_dim": 8, "num_layers": 1, "num_heads": 2, "key_dim": 4}
CASES = {
    "one-convolution": (
        {"conv_layers": 1, "patch_size": (2, 3), "temperature": "head", "diagonal_mask": True},
        (7, 11, 1),
    ),
    "two-convolutions": ({"conv_layers": 2, "patch_size": 1}, (8, 12, 3)),
}


@cache
def made(name):
    """A small hybrid with random weights: its config, image shape and the model."""
    fields, shape = CASES[name]
    config = named_model("hybrid").replace(image_size=shape[:2], **(SMALL | fields))
    return config, shape, randomized(build_classifier(config, shape, 5))


class Reference(NumpyTransformer):
    """The model in NumPy from the paper's equations 1 to 4, with a model's weights."""

    def outputs(self, x):
        for number in range(self.config.conv_layers):
            x = self.convolved(x, f"conv_{number}", 3)
            yield f"pool_{number}", x
        x = dense(self.patches(x), self.weights("tokenization"), "projection")
        yield "tokenization", x
        around = self.weights("encoder")
        class_token = np.broadcast_to(around["encoder/class_token"], (len(x), 1, x.shape[-1]))
        x = np.concatenate([class_token, x], axis=1) + around["encoder/position_embedding"]
        yield "encoder", x
        for number in range(self.config.num_layers):
            x = self.block(x, f"block_{number}")
            yield f"block_{number}", x
        x = self.norm(x, self.weights("norm"), "norm")
        yield "norm", x
        yield "pooling", x[:, 0]
        yield "logits", dense(x[:, 0], self.weights("logits"), "logits")

    def patches(self, x):
        """Patches row by row, each with its pixels row by row."""
        down, right = as_pair(self.config.patch_size)
        found = [
            x[:, row : row + down, column : column + right].reshape(len(x), -1)
            for row in range(0, x.shape[1] - down + 1, down)
            for column in range(0, x.shape[2] - right + 1, right)
        ]
        return np.stack(found, axis=1)


@pytest.mark.parametrize("name", CASES)
def test_each_layer_against_numpy(name):
    config, shape, model = made(name)
    images = normal((3, *shape))
    close_layer_by_layer(model, images, Reference(model, config, 1e-6).outputs(images))


@pytest.mark.parametrize("name", CASES)
def test_multiply_adds_are_those_of_the_layers(name):
    config, shape, model = made(name)
    counted = count_multiply_adds(config, shape, 5)
    layers = [each for each in model.layers if isinstance(each, keras.layers.Conv2D)]
    assert len(layers) == config.conv_layers
    assert counted.convolutions == sum(
        math.prod(each.output.shape[1:3]) * math.prod(each.kernel.shape) for each in layers
    )
    tokenization = model.get_layer("tokenization")
    patches = tokenization.output[0].shape[1]
    kernel = weights_of(tokenization)["projection/kernel"]
    assert counted.patch_projection == patches * kernel.size


def test_every_trainable_variable_gets_a_gradient_but_those_of_the_keys():
    """A bias of all keys shifts the scores of a query alike, which a softmax does not see."""
    _, shape, model = made("two-convolutions")
    lost = without_gradient(model, normal((3, *shape)))
    assert [path for path in lost if not path.endswith("key/bias")] == []


def test_a_saved_hybrid_loads(tmp_path):
    _, shape, model = made("two-convolutions")
    model.save(tmp_path / "model.keras")

    loaded = keras.saving.load_model(tmp_path / "model.keras")

    images = normal((2, *shape))
    close(logits_of(loaded, images), logits_of(model, images), 1e-6)


def test_spt_shifts_the_feature_map():
    config = model_config("vit", image_size=16, conv_layers=1, patch_size=2, **SMALL)
    tokenization = build_classifier(config, (16, 16, 1), 3).get_layer("tokenization")
    assert tokenization.input.shape == (None, 8, 8, 64)
    assert tokenization.shifts == "diagonal"
    assert weights_of(tokenization)["projection/kernel"].shape == (5 * 2 * 2 * 64, 8)


@pytest.mark.parametrize(("patch", "channels"), [(4, 3), ((2, 3), 1)])
def test_tokens_are_a_convolution_whose_kernel_and_stride_are_the_patch(patch, channels):
    tokenize = ShiftedPatchTokenization(
        patch_size=patch, projection_dim=5, shifts="none", patch_norm=False
    )
    images = normal((2, 8, 12, channels))
    tokens, _ = tokenize(images)
    convolve = keras.layers.Conv2D(5, patch, strides=patch, data_format="channels_last")
    convolve.build(images.shape)
    kernel, bias = (to_numpy(each) for each in tokenize.projection.weights)

    convolve.set_weights([kernel.reshape(convolve.kernel.shape), bias + 0.5])

    close(convolve(images), to_numpy(tokens).reshape(convolve(images).shape) + 0.5, 1e-5)


def test_a_head_of_zeros_starts_at_equal_logits_and_learns():
    config = model_config("vit", image_size=8, patch_size=4, head_units=(), **SMALL)
    shape, images = (8, 8, 1), normal((3, 8, 8, 1))
    zero = build_classifier(config.replace(zero_head=True), shape, 5)
    assert not to_numpy(logits_of(zero, images)).any()
    assert to_numpy(logits_of(build_classifier(config, shape, 5), images)).any()
    assert "logits/kernel" not in without_gradient(zero, images)
    assert named_model("vit-ti/16").zero_head


def test_the_named_hybrid_is_a_vit_of_published_form_with_the_convolutions_of_cct_2():
    hybrid, cct = named_model("hybrid"), named_model("cct-2/3x2")
    model = build_classifier(hybrid, (32, 32, 3), 100)
    convolutions = 9 * 3 * 64 + 9 * 64 * 64
    tokens = (64 * 128 + 128) + 128 + (64 + 1) * 128
    block = 4 * (128 * 128 + 128) + 2 * (128 * 128 + 128) + 2 * 2 * 128
    expected = convolutions + tokens + 2 * block + 2 * 128 + (128 * 100 + 100)
    assert sum(math.prod(each.shape) for each in model.trainable_variables) == expected == 267_684
    for name in ("projection_dim", "num_layers", "num_heads", "mlp_ratio", "conv_layers"):
        assert getattr(hybrid, name) == getattr(cct, name), name
    assert model.get_layer("tokenization").input.shape[1:3] == (8, 8)
    assert backbone_and_head(model)[0].output_shape == (None, 128)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"conv_layers": -1}, "conv_layers must be at least 0"),
        (
            {"conv_layers": 2, "image_size": 32, "patch_size": 9},
            "patch_size must be no larger than the feature map of 8x8. Received: 9",
        ),
        ({"zero_head": 1}, "zero_head must be True or False"),
    ],
)
def test_wrong_settings_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        model_config("vit", **fields)
