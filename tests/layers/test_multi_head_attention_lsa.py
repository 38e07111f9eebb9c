"""Locality Self-Attention against loops, against Keras's attention, and its mask by gradients."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from layer_harness import close, gradient, normal, randomize, to_numpy, weights_of
from small_vit import MultiHeadAttentionLSA

TOKENS, DIM, HEADS, KEY_DIM = 5, 6, 2, 4

# Each token may attend to itself and to others, so that either mask leaves something to the other.
USER_MASK = np.array(
    [
        [1, 1, 0, 1, 0],
        [1, 1, 0, 0, 0],
        [0, 1, 1, 1, 1],
        [0, 0, 1, 1, 0],
        [1, 0, 1, 1, 1],
    ],
    dtype=bool,
)


def make(*args, query_dim=DIM, **kwargs):
    layer = MultiHeadAttentionLSA(*(args or (HEADS, KEY_DIM)), **kwargs)
    layer.build((None, TOKENS, query_dim), (None, TOKENS, query_dim))
    return randomize(layer)


def reference(x, layer, mask):
    """Attention of `x` to itself, one number at a time: output and probabilities."""
    weights = weights_of(layer)
    projected = {
        name: np.einsum("btd,dhk->bthk", x, weights[f"{name}/kernel"])
        + weights.get(f"{name}/bias", 0)
        for name in ("query", "key", "value")
    }
    batch, tokens, _ = x.shape
    probabilities = np.zeros((batch, layer.num_heads, tokens, tokens))
    output = np.zeros_like(x)
    for example in range(batch):
        for head in range(layer.num_heads):
            factor = 1 / math.sqrt(layer.key_dim)
            if layer.temperature != "none":
                (tau,) = [value for path, value in weights.items() if path.endswith("temperature")]
                tau = float(tau if layer.temperature == "layer" else tau.flat[head])
                factor = 1 / tau if layer.temperature_form == "divisor" else tau
            for i in range(tokens):
                exponentials = np.zeros(tokens)
                for j in range(tokens):
                    if mask[i, j] and not (layer.diagonal_mask and i == j):
                        query = projected["query"][example, i, head]
                        key = projected["key"][example, j, head]
                        exponentials[j] = math.exp(query @ key * factor)
                probabilities[example, head, i] = exponentials / exponentials.sum()
                for j in range(tokens):
                    value = projected["value"][example, j, head]
                    attended = probabilities[example, head, i, j] * value
                    output[example, i] += attended @ weights["attention_output/kernel"][head]
    return output + weights.get("attention_output/bias", 0), probabilities


@pytest.mark.parametrize("user_mask", [None, USER_MASK], ids=["all", "user-mask"])
@pytest.mark.parametrize("diagonal_mask", [True, False], ids=["masked", "open"])
@pytest.mark.parametrize("form", ["divisor", "multiplier"])
@pytest.mark.parametrize("temperature", ["none", "layer", "head"])
def test_against_loops(temperature, form, diagonal_mask, user_mask):
    layer = make(temperature=temperature, temperature_form=form, diagonal_mask=diagonal_mask)
    x = normal((2, TOKENS, DIM))

    mask = None if user_mask is None else user_mask[None]
    output, probabilities = layer(x, x, attention_mask=mask, return_attention_scores=True)

    everything = np.ones((TOKENS, TOKENS), bool)
    expected = reference(x, layer, everything if user_mask is None else user_mask)
    close(output, expected[0])
    close(probabilities, expected[1])


def test_values_of_another_width_than_keys():
    layer = make(value_dim=3)
    x = normal((2, TOKENS, DIM))

    close(layer(x, x), reference(x, layer, np.ones((TOKENS, TOKENS), bool))[0])


@pytest.mark.parametrize("form", ["divisor", "multiplier"])
@pytest.mark.parametrize("temperature", ["layer", "head"])
def test_temperature_at_its_start_is_keras_scale(temperature, form):
    kwargs = {"diagonal_mask": False, "temperature_form": form}
    learned = MultiHeadAttentionLSA(HEADS, KEY_DIM, temperature=temperature, **kwargs)
    x = normal((2, TOKENS, DIM))
    output = learned(x, x)

    fixed = make(temperature="none", **kwargs)
    for target, source in zip(fixed.weights, learned.weights[-len(fixed.weights) :], strict=True):
        target.assign(source)

    close(output, fixed(x, x))


@pytest.mark.parametrize("scores", [False, True], ids=["output", "scores"])
@pytest.mark.parametrize(
    "call",
    [{}, {"attention_mask": USER_MASK[None]}, {"use_causal_mask": True}],
    ids=["no-mask", "user-mask", "causal-mask"],
)
@pytest.mark.parametrize(
    "kwargs", [{}, {"use_bias": False, "output_shape": 7}, {"output_shape": (2, 3)}]
)
def test_is_keras_attention_without_temperature_and_mask(kwargs, call, scores):
    ours = make(temperature="none", diagonal_mask=False, **kwargs)
    keras_own = keras.layers.MultiHeadAttention(HEADS, KEY_DIM, **kwargs)
    query, value = normal((2, 5, DIM), seed=1), normal((2, 5, DIM), seed=2)
    keras_own(query, value)
    keras_own.set_weights(ours.get_weights())

    output = ours(query, value, return_attention_scores=scores, **call)
    expected = keras_own(query, value, return_attention_scores=scores, **call)

    for ours_one, keras_one in zip(
        keras.tree.flatten(output), keras.tree.flatten(expected), strict=True
    ):
        close(ours_one, keras_one)


def test_is_a_keras_attention_layer():
    assert isinstance(make(), keras.layers.MultiHeadAttention)


def test_attends_to_another_sequence_without_the_diagonal_mask():
    layer = MultiHeadAttentionLSA(HEADS, KEY_DIM, diagonal_mask=False)

    assert layer(normal((2, 5, DIM)), normal((2, 3, DIM))).shape == (2, 5, DIM)


def test_is_the_keras_examples_formulation():
    layer = make(temperature="layer", temperature_form="divisor")
    x = normal((2, TOKENS, DIM))
    output, probabilities = layer(x, x, return_attention_scores=True)

    weights = weights_of(layer)
    (tau,) = [value for path, value in weights.items() if path.endswith("temperature")]
    query, key, value = (
        ops.einsum("btd,dhk->bthk", x, weights[f"{name}/kernel"]) + weights[f"{name}/bias"]
        for name in ("query", "key", "value")
    )
    scores = ops.einsum("bshk,bthk->bhts", key, ops.multiply(query, 1.0 / tau))
    allowed = ops.logical_not(ops.eye(TOKENS, dtype="bool"))[None, None]
    scores = keras.layers.Softmax()(scores, mask=allowed)
    attended = ops.einsum("bhts,bshk->bthk", scores, value)
    expected = ops.einsum("bthk,hkd->btd", attended, weights["attention_output/kernel"])

    close(probabilities, scores)
    close(output, expected + weights["attention_output/bias"])


def diagonal(scores):
    return np.diagonal(to_numpy(scores), axis1=-2, axis2=-1)


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("user_mask", [None, USER_MASK[None]], ids=["all", "user-mask"])
def test_diagonal_is_exactly_zero(user_mask, dtype):
    layer = make(dtype=dtype)
    x = normal((2, TOKENS, DIM), scale=10)

    output, scores = layer(x, x, attention_mask=user_mask, return_attention_scores=True)

    assert (diagonal(scores) == 0).all()
    assert np.isfinite(to_numpy(output)).all()
    close(to_numpy(scores).sum(-1), np.ones((2, HEADS, TOKENS)), 1e-2)


def test_user_mask_and_diagonal_mask_hold_together():
    x = normal((2, TOKENS, DIM))

    _, scores = make()(x, x, attention_mask=USER_MASK[None], return_attention_scores=True)

    open_ = USER_MASK & ~np.eye(TOKENS, dtype=bool)
    assert (to_numpy(scores)[:, :, ~open_] == 0).all()
    assert (to_numpy(scores)[:, :, open_] > 0).all()


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_token_with_nothing_else_to_attend_to_attends_to_itself(dtype):
    x = normal((2, TOKENS, DIM), scale=10)

    _, scores = make(dtype=dtype)(x, x, use_causal_mask=True, return_attention_scores=True)

    first, later = to_numpy(scores)[:, :, 0], diagonal(scores)[..., 1:]
    assert (first == np.eye(TOKENS)[0]).all()
    assert (later == 0).all()


def value_gradients(layer, token):
    """Gradient of output `token` for each of the values (which are the keys too)."""
    query, value = normal((1, TOKENS, DIM), seed=1), normal((1, TOKENS, DIM), seed=2)
    return gradient(lambda value: ops.sum(layer(query, value)[0, token] ** 2), value)[0]


@pytest.mark.parametrize("token", range(TOKENS))
def test_gradient_from_a_token_to_its_own_value_is_exactly_zero(token):
    gradients = value_gradients(make(), token)

    others = np.arange(TOKENS) != token
    assert (gradients[token] == 0).all()
    assert (gradients[others] != 0).all()


def test_gradient_to_its_own_value_flows_without_the_mask():
    assert (value_gradients(make(diagonal_mask=False), token=2) != 0).all()


@pytest.mark.parametrize("call", [{}, {"attention_mask": np.ones((1, 1, 1), bool)}])
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_lone_token_attends_to_itself(dtype, call):
    x = normal((2, 1, DIM))
    masked, open_ = make(dtype=dtype), make(dtype=dtype, diagonal_mask=False)

    output, scores = masked(x, x, return_attention_scores=True, **call)

    assert (to_numpy(scores) == 1).all()
    close(output, open_(x, x), 1e-3)


def test_attention_dropout_scales_what_it_keeps():
    layer = make(dropout=0.5, seed=0)
    x = normal((2, TOKENS, DIM))

    output, scores = layer(x, x, training=True, return_attention_scores=True)

    close(scores, layer(x, x, return_attention_scores=True)[1])
    assert np.abs(to_numpy(output) - to_numpy(layer(x, x))).max() > 1e-2


def shapes(layer):
    return [
        ("/".join(each.path.split("/")[-2:]), tuple(each.shape))
        for each in layer.weights
        if each.name != "temperature"
    ]


@pytest.mark.parametrize("use_bias", [True, False])
def test_projections_have_keras_weights_in_keras_order(use_bias):
    keras_own = keras.layers.MultiHeadAttention(HEADS, KEY_DIM, use_bias=use_bias)
    keras_own.build((None, TOKENS, DIM), (None, TOKENS, DIM))

    assert shapes(make(use_bias=use_bias)) == shapes(keras_own)


def test_paper_has_a_bias_on_the_output_only():
    layer = make(use_bias=False, output_bias=True)

    assert [path for path, _ in shapes(layer)] == [
        "query/kernel",
        "key/kernel",
        "value/kernel",
        "attention_output/kernel",
        "attention_output/bias",
    ]


def test_output_bias_can_be_left_out_alone():
    paths = [path for path, _ in shapes(make(output_bias=False))]

    assert "query/bias" in paths
    assert "attention_output/bias" not in paths


@pytest.mark.parametrize(("temperature", "shape"), [("layer", ()), ("head", (HEADS, 1))])
@pytest.mark.parametrize(("form", "start"), [("divisor", 3.0), ("multiplier", 1 / 3)])
def test_temperature_starts_at_the_square_root_of_the_key_width(temperature, shape, form, start):
    layer = MultiHeadAttentionLSA(HEADS, 9, temperature=temperature, temperature_form=form)
    layer.build((None, TOKENS, DIM), (None, TOKENS, DIM))

    (tau,) = [each for each in layer.trainable_variables if each.name == "temperature"]

    assert tuple(tau.shape) == shape
    close(tau, np.full(shape, start), 1e-6)


def test_fixed_temperature_is_no_weight():
    assert all(each.name != "temperature" for each in make(temperature="none").weights)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"temperature": "token"}, "`temperature` is one of .*'token'"),
        ({"temperature_form": "log"}, "`temperature_form` is one of .*'log'"),
        ({"num_heads": 0}, "`num_heads`"),
        ({"flash_attention": True}, "flash_attention=True"),
        ({"use_gate": True}, "use_gate=True"),
        ({"attention_axes": 2}, "`attention_axes` can only be 1.*attention_axes=2"),
    ],
)
def test_bad_argument(kwargs, message):
    with pytest.raises(ValueError, match=message):
        MultiHeadAttentionLSA(**{"num_heads": HEADS, "key_dim": KEY_DIM, **kwargs})


def test_diagonal_mask_needs_self_attention():
    with pytest.raises(ValueError, match="the same number of tokens"):
        MultiHeadAttentionLSA(HEADS, KEY_DIM).build((None, 5, DIM), (None, 4, DIM))


@pytest.mark.parametrize("queries", [1, 3])
def test_a_built_layer_checks_every_call(queries):
    layer, x = make(), normal((2, TOKENS, DIM))
    with pytest.raises(ValueError, match="the same number of tokens"):
        layer(x[:, :queries], x)


def test_numbers_of_tokens_that_are_known_late_are_checked_late():
    query, value = keras.Input((None, DIM)), keras.Input((None, DIM))
    model = keras.Model([query, value], MultiHeadAttentionLSA(HEADS, KEY_DIM)(query, value))
    x = normal((2, TOKENS, DIM))

    assert model.predict([x, x], verbose=0).shape == x.shape
    with pytest.raises(ValueError, match="the same number of tokens"):
        model.predict([x[:, :1], x], verbose=0)


@pytest.mark.parametrize("diagonal_mask", [True, False])
def test_a_key_has_as_many_tokens_as_its_value(diagonal_mask):
    layer, x = make(diagonal_mask=diagonal_mask), normal((2, TOKENS, DIM))
    with pytest.raises(ValueError, match="Value and key have the same number of tokens"):
        layer(x, x, key=x[:, :3])


def test_a_built_layer_checks_symbolic_calls():
    with pytest.raises(ValueError, match="the same number of tokens"):
        make()(keras.Input((1, DIM)), keras.Input((TOKENS, DIM)))


def test_one_query_of_an_open_number_of_tokens_is_refused():
    tokens = keras.Input((None, DIM))
    with pytest.raises(ValueError, match="the same number of tokens"):
        attended = MultiHeadAttentionLSA(HEADS, KEY_DIM)(tokens[:, :1], tokens)
        keras.Model(tokens, attended).predict(normal((2, TOKENS, DIM)), verbose=0)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="elsewhere shapes are known")
def test_a_graph_of_open_shapes_fails_where_numbers_of_tokens_differ():
    import tensorflow as tf

    layer = make()
    run = tf.function(layer, input_signature=[tf.TensorSpec((None, None, DIM))] * 2)
    x = normal((2, TOKENS, DIM))

    close(run(x, x), layer(x, x))
    with pytest.raises(tf.errors.InvalidArgumentError):
        run(x[:, :1], x)


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_a_small_move_of_the_temperature_moves_the_scores(dtype):
    """Nothing lies between 1 and 1.0078 in bfloat16: the temperature must not be rounded to it."""
    layer, x = make(dtype=dtype), normal((8, TOKENS, DIM))
    scores = []
    for tau in (1.0, 1.003):
        layer.tau.assign(tau)
        scores.append(to_numpy(layer(x, x, return_attention_scores=True)[1]))
    assert (scores[0] != scores[1]).mean() > 0.1


def test_tokens_have_one_axis():
    with pytest.raises(ValueError, match=r"are \(batch, tokens, dim\)"):
        MultiHeadAttentionLSA(HEADS, KEY_DIM, diagonal_mask=False).build(
            (None, 2, 5, DIM), (None, 2, 5, DIM)
        )


def test_attends_to_as_many_tokens_as_come():
    tokens = keras.Input((None, DIM))
    model = keras.Model(tokens, MultiHeadAttentionLSA(HEADS, KEY_DIM)(tokens, tokens))
    for length in (2, 5):
        few = np.ones((3, length, DIM), "float32")
        assert model.predict(few, verbose=0).shape == few.shape
