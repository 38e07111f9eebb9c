"""Sequence pooling against NumPy and SciPy."""

import json

import keras
import numpy as np
import pytest
from scipy.special import softmax

from layer_harness import LayerCase, close, normal, run_compiled, to_numpy
from small_vit.layers import SequencePooling

CASE = LayerCase(SequencePooling, {"kernel_initializer": "he_normal"}, (5, 8))


def expected(layer, tokens, mask=None):
    kernel, bias = (to_numpy(each) for each in layer.weights)
    scores = (tokens @ kernel + bias)[..., 0]
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    return np.einsum("bt,btd->bd", softmax(scores, axis=1), tokens)


def test_it_is_the_mean_weighted_by_the_softmax_of_the_scores():
    layer, tokens = CASE.make_built(), CASE.inputs()
    close(layer(tokens), expected(layer, tokens))


def test_equal_scores_give_the_mean():
    layer, tokens = SequencePooling(kernel_initializer="zeros"), CASE.inputs()
    close(layer(tokens), tokens.mean(axis=1))


def test_padding_has_no_weight():
    layer, tokens = CASE.make_built(), CASE.inputs()
    mask = np.array([[True, True, False, True, False], [True] * 5])
    close(layer(tokens, mask=mask), expected(layer, tokens, mask))
    changed = np.where(mask[..., None], tokens, 100.0).astype("float32")
    close(layer(changed, mask=mask), layer(tokens, mask=mask), 0)


def test_a_mask_of_keras_is_used_and_ends_here():
    layer, tokens = CASE.make_built(), CASE.inputs()
    tokens[0, 3:] = 0.0
    masking = keras.layers.Masking()
    inputs = keras.Input(CASE.input_shape)
    pooled = layer(masking(inputs))
    assert getattr(pooled, "_keras_mask", None) is None
    close(keras.Model(inputs, pooled)(tokens), expected(layer, tokens, tokens.any(-1)))


def test_any_number_of_tokens_but_one_width():
    layer = CASE.make_built()
    assert layer(normal((2, 9, 8))).shape == (2, 8)
    assert layer.compute_output_shape((3, 9, 8)) == (3, 8)
    for shape in ((2, 5, 4), (2, 8)):
        with pytest.raises(ValueError, match="incompatible with the layer"):
            layer(normal(shape))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision(policy):
    layer, tokens = CASE.make_built(dtype=policy), CASE.inputs()
    pooled = layer(tokens)
    assert keras.backend.standardize_dtype(pooled.dtype) == layer.compute_dtype
    assert {each.dtype for each in layer.weights} == {"float32"}
    close(pooled, expected(layer, tokens), 0.05)


def test_compiles_with_xla():
    layer, tokens = CASE.make_built(), CASE.inputs()
    if keras.backend.backend() == "torch":
        pytest.skip("torch has no XLA here")
    close(run_compiled(CASE, layer, tokens)[0], layer(tokens))


def test_config_round_trip():
    layer, tokens = CASE.make_built(name="pooled"), CASE.inputs()
    other = SequencePooling.from_config(json.loads(json.dumps(layer.get_config())))
    other.build((None, *CASE.input_shape))
    other.set_weights(layer.get_weights())
    assert other.get_config() == layer.get_config()
    close(other(tokens), layer(tokens), 0)
