"""The transformer block against NumPy, and stochastic depth."""

import keras
import numpy as np
import pytest
from scipy.special import erf

from layer_harness import close, normal, randomize, to_numpy, weights_of
from small_vit import PatchEncoder, StochasticDepth, TransformerBlock


def make(**kwargs):
    layer = TransformerBlock(
        **{"num_heads": 2, "key_dim": 4, "mlp_units": 12, "mlp_output_activation": True, **kwargs}
    )
    layer.build((None, 5, 8))
    return randomize(layer)


def layer_norm(x, weights, name, epsilon):
    deviation = x - x.mean(-1, keepdims=True)
    normed = deviation / np.sqrt((deviation**2).mean(-1, keepdims=True) + epsilon)
    return normed * weights[f"{name}/gamma"] + weights[f"{name}/beta"]


def gelu(x):
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def reference(x, block, epsilon):
    weights = weights_of(block)
    normed = layer_norm(x, weights, "attention_norm", epsilon)
    x = x + to_numpy(block.attention(normed, normed))
    hidden = layer_norm(x, weights, "mlp_norm", epsilon)
    hidden = gelu(hidden @ weights["mlp_hidden/kernel"] + weights["mlp_hidden/bias"])
    output = hidden @ weights["mlp_output/kernel"] + weights["mlp_output/bias"]
    return x + (gelu(output) if block.mlp_output_activation else output)


@pytest.mark.parametrize("mlp_output_activation", [True, False])
@pytest.mark.parametrize("epsilon", [1e-6, 0.1])
def test_against_numpy(mlp_output_activation, epsilon):
    block = make(mlp_output_activation=mlp_output_activation, norm_epsilon=epsilon)
    x = normal((2, 5, 8))

    close(block(x), reference(x, block, epsilon))


def test_attention_scores_are_those_of_the_forward_pass():
    block = make()
    x = normal((2, 5, 8))

    scores = block.attention_scores(x)

    normed = layer_norm(x, weights_of(block), "attention_norm", 1e-6)
    close(scores, block.attention(normed, normed, return_attention_scores=True)[1])
    assert scores.shape == (2, 2, 5, 5)


def padded_model(length, **kwargs):
    """Two blocks on tokens of which zeros are padding, with a class token in front."""
    keras.utils.set_random_seed(0)
    tokens = keras.Input((length, 8))
    x = keras.layers.Masking()(tokens)
    x = PatchEncoder(length, 8, position_embedding="none", class_token=True)(x)
    for _ in range(2):
        x = TransformerBlock(num_heads=2, key_dim=4, mlp_units=12, **kwargs)(x)
    return keras.Model(tokens, x)


@pytest.mark.parametrize("diagonal_mask", [True, False])
def test_padding_changes_no_token_however_many_blocks(diagonal_mask):
    tokens = normal((2, 3, 8))
    padded = np.concatenate([tokens, np.zeros((2, 4, 8), "float32")], axis=1)
    short, long = (padded_model(length, diagonal_mask=diagonal_mask) for length in (3, 7))
    long.set_weights(randomize(short).get_weights())

    close(long(padded)[:, :4], short(tokens))


def test_the_mask_goes_on_behind_the_class_token():
    tokens = keras.layers.Masking()(np.array([[[1.0] * 8, [0.0] * 8]], "float32"))
    encoded = PatchEncoder(2, 8, class_token=True)(tokens)
    out = make()(encoded)
    for each in (encoded, out):
        assert to_numpy(each._keras_mask).tolist() == [[1, 1, 0]]


def test_a_mask_may_be_given():
    block, x = make(), normal((2, 5, 8))
    mask = np.array([[1, 1, 1, 0, 0]] * 2, bool)

    close(block(x, mask=mask)[:, :3], block(x[:, :3]))


def test_an_attention_mask_reaches_the_attention():
    block, x = make(), normal((2, 5, 8))
    allowed = np.tril(np.ones((1, 5, 5), bool), -1) | (np.arange(5)[:, None] == 0)

    scores = block.attention_scores(x, attention_mask=allowed)
    assert (to_numpy(scores)[:, :, ~allowed[0]] == 0).all()
    changed = x.copy()
    changed[:, 4, 0] += 1
    before, after = (block(each, attention_mask=allowed) for each in (x, changed))
    close(before[:, 1:4], after[:, 1:4])
    assert np.abs(to_numpy(before[:, 0]) - to_numpy(after[:, 0])).max() > 1e-3


def test_passes_its_attention_switches_on():
    block = make(
        temperature="head",
        temperature_form="multiplier",
        diagonal_mask=False,
        qkv_bias=False,
        attention_dropout=0.3,
    )

    config = block.attention.get_config()

    assert config["temperature"] == "head"
    assert config["temperature_form"] == "multiplier"
    assert config["diagonal_mask"] is False
    assert config["use_bias"] is False
    assert config["output_bias"] is True
    assert config["dropout"] == 0.3


@pytest.mark.parametrize("switch", ["dropout", "attention_dropout", "stochastic_depth"])
def test_each_kind_of_dropout_acts_in_training_only(switch):
    quiet = {"dropout": 0.0, "attention_dropout": 0.0, "stochastic_depth": 0.0}
    block = make(**{**quiet, switch: 0.5})
    x = normal((8, 5, 8))

    close(block(x, training=False), reference(x, block, 1e-6))
    assert np.abs(to_numpy(block(x, training=True)) - to_numpy(block(x))).max() > 1e-2


def test_kernels_are_drawn_apart():
    block = TransformerBlock(num_heads=2, key_dim=4, mlp_units=16)
    block.build((None, 5, 8))

    hidden, output = to_numpy(block.mlp_hidden.kernel), to_numpy(block.mlp_output.kernel)

    assert not np.isin(output, hidden).any()


def drop(x, rate, **kwargs):
    return to_numpy(StochasticDepth(rate, seed=0, **kwargs)(x, training=True))


@pytest.mark.parametrize("shape", [(1000, 3), (1000, 3, 2), (1000, 2, 2, 3)])
def test_stochastic_depth_drops_whole_examples_and_scales_the_rest(shape):
    output = drop(np.ones(shape, "float32"), 0.2).reshape(1000, -1)

    assert (output == output[:, :1]).all()
    kept = output[:, 0] != 0
    close(output[kept], np.full_like(output[kept], 1.25), 1e-6)
    assert 0.75 < kept.mean() < 0.85


def test_stochastic_depth_is_the_identity_in_inference():
    x = normal((4, 3))

    close(StochasticDepth(0.9)(x), x, 0)


def test_stochastic_depth_of_rate_zero_is_the_identity_in_training():
    x = normal((4, 3))

    close(drop(x, 0.0), x, 0)


def test_stochastic_depth_draws_by_its_seed():
    x = np.ones((64, 3), "float32")

    close(drop(x, 0.5), drop(x, 0.5), 0)
    other = to_numpy(StochasticDepth(0.5, seed=1)(x, training=True))
    assert (other != drop(x, 0.5)).any()


def test_stochastic_depth_refuses_a_rate_beyond_one():
    with pytest.raises(ValueError, match="rate"):
        StochasticDepth(1.5)


def test_block_is_saved_under_its_registered_name():
    assert keras.saving.get_registered_name(TransformerBlock) == "small_vit>TransformerBlock"
