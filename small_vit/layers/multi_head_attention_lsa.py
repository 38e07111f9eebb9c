"""Locality Self-Attention: a learned softmax temperature and no attention to oneself."""

import math

import keras
from keras import ops

from small_vit.layers.hashed_dropout import hashed_dropout

TEMPERATURES = ("none", "layer", "head")
TEMPERATURE_FORMS = ("divisor", "multiplier")


@keras.saving.register_keras_serializable(package="small_vit")
class MultiHeadAttentionLSA(keras.layers.MultiHeadAttention):
    """Multi-head attention with a learnable temperature and a masked diagonal.

    It is a `keras.layers.MultiHeadAttention` (same call, same sublayers, same weights beside the
    temperature); with `temperature="none", diagonal_mask=False` it computes the same.

    Source: Lee, Lee and Song, arXiv 2112.13492, section 3.2, equations 8 to 10.

    Args:
        num_heads: Number of heads.
        key_dim: Width of a query and a key in a head.
        temperature: `"layer"`: one learned scalar (the Keras example); `"head"`: one a head (the
            paper's code); `"none"`: fixed at sqrt(key_dim).
        temperature_form: `"divisor"`: scores are divided by a variable that starts at
            sqrt(key_dim) (the Keras example); `"multiplier"`: they are multiplied by one that
            starts at 1 / sqrt(key_dim) (the paper's code). Same start, another gradient.
        diagonal_mask: Whether a token is kept from attending to itself. A token that has nothing
            else to attend to, alone or left alone by `attention_mask`, still does.
        output_bias: Whether the output projection has a bias. Default: as `use_bias` says, which
            holds for query, key and value (the paper's code has a bias on the output only).
        **kwargs: As for `keras.layers.MultiHeadAttention`: `value_dim`, `dropout`, `use_bias`,
            `kernel_initializer`, …

    Call arguments:
        query: `(batch, tokens, dim)`.
        value: `(batch, tokens, dim)`; of as many tokens as `query` if `diagonal_mask`.
        attention_mask: Boolean, `(batch, tokens, tokens)` or broadcastable; false is not attended
            to. It holds beside the diagonal mask.
        return_attention_scores: Whether the probabilities (before dropout) come back too.

    Returns:
        `(batch, tokens, dim)`, and with `return_attention_scores` also
        `(batch, num_heads, tokens, tokens)`.

    Raises:
        ValueError: if an argument is not one of those named, or `diagonal_mask` meets a query and
            a value of different lengths or with more than one attention axis.
    """

    def __init__(
        self,
        num_heads,
        key_dim,
        temperature="layer",
        temperature_form="divisor",
        diagonal_mask=True,
        output_bias=None,
        **kwargs,
    ):
        super().__init__(num_heads=num_heads, key_dim=key_dim, **kwargs)
        if temperature not in TEMPERATURES:
            raise ValueError(
                f"`temperature` is one of {TEMPERATURES}. Received: temperature={temperature!r}"
            )
        if temperature_form not in TEMPERATURE_FORMS:
            raise ValueError(
                f"`temperature_form` is one of {TEMPERATURE_FORMS}. "
                f"Received: temperature_form={temperature_form!r}"
            )
        self.temperature = temperature
        self.temperature_form = temperature_form
        self.diagonal_mask = diagonal_mask
        self.output_bias = self._use_bias if output_bias is None else output_bias
        self.tau = None

    def build(self, query_shape, value_shape, key_shape=None):
        """Create the projections' weights and the temperature."""
        if self.diagonal_mask and (
            len(query_shape) != 3 or tuple(query_shape[1:-1]) != tuple(value_shape[1:-1])
        ):
            raise ValueError(
                "diagonal_mask=True is for self-attention over one axis: query and value are both "
                "(batch, tokens, dim) with the same number of tokens. Received: "
                f"query_shape={tuple(query_shape)}, value_shape={tuple(value_shape)}"
            )
        super().build(query_shape, value_shape, key_shape)
        if self.temperature != "none":
            # tf.Variable would not be tracked by Keras 3: the temperature would stay frozen.
            exponent = 0.5 if self.temperature_form == "divisor" else -0.5
            self.tau = self.add_weight(
                # One a head: (num_heads, 1), to broadcast over queries (batch, tokens, heads, dim).
                shape=() if self.temperature == "layer" else (self.num_heads, 1),
                initializer=keras.initializers.Constant(self.key_dim**exponent),
                name="temperature",
            )

    def score_divisor(self):
        """Return what the scores are divided by, in either form of the temperature.

        Returns:
            float32 `(1,)`, or `(num_heads,)` with a temperature a head.
        """
        if self.tau is None:
            return ops.full((1,), math.sqrt(self.key_dim), dtype="float32")
        tau = ops.reshape(ops.cast(self.tau, "float32"), (-1,))
        return tau if self.temperature_form == "divisor" else 1 / tau

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "temperature_form": self.temperature_form,
            "diagonal_mask": self.diagonal_mask,
            "output_bias": self.output_bias,
        }

    def _make_output_dense(self, query_shape, common_kwargs, name=None):
        dense = super()._make_output_dense(query_shape, common_kwargs, name)
        if self.output_bias != self._use_bias:
            output_axes = dense.equation.split("->")[1][len(query_shape) - 1 :]
            dense.bias_axes = output_axes if self.output_bias else None
        return dense

    def _build_attention(self, rank):
        super()._build_attention(rank)
        # In Keras's order, keys times queries, the product comes out as the scores transposed, and
        # XLA on a CPU turns them, forward and backward.
        self._dot_product_equation = _operands_swapped(self._dot_product_equation)
        self._combine_equation = _operands_swapped(self._combine_equation)

    def _compute_attention(
        self,
        query,
        key,
        value,
        attention_mask=None,
        training=None,
        return_attention_scores=False,
    ):
        # query: (batch, T, heads, key_dim); key, value: (batch, S, heads, key_dim or value_dim)
        scores = ops.einsum(self._dot_product_equation, self._scale(query), key)
        if self.diagonal_mask:
            # An additive constant: exp(low) is exactly 0, and so is its gradient. Keras's mask is
            # twice as low, so what it masks loses even to the diagonal.
            dtype = keras.backend.standardize_dtype(scores.dtype)
            low = -1.5e4 if dtype == "float16" else -5e8
            tokens = ops.shape(query)[1]
            scores = scores + low * ops.eye(tokens, dtype=dtype)
        scores = self._masked_softmax(scores, attention_mask)  # (batch, heads, T, S)
        dropped = scores
        if training and self._dropout > 0:
            dropped = hashed_dropout(scores, self._dropout, self._dropout_layer.seed_generator)
        return ops.einsum(self._combine_equation, value, dropped), scores

    def _scale(self, query):
        if self.tau is None:
            return query * (1.0 / math.sqrt(self.key_dim))
        tau = ops.cast(self.tau, query.dtype)
        return query / tau if self.temperature_form == "divisor" else query * tau


def _operands_swapped(equation):
    operands, result = equation.split("->")
    first, second = operands.split(",")
    return f"{second},{first}->{result}"
