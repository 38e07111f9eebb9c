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
        ValueError: if an argument is not one of those named, a query or value is not
            `(batch, tokens, dim)`, or `diagonal_mask` meets two of different lengths.
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
        if kwargs.get("flash_attention"):
            raise ValueError(
                "No flash attention here: temperature and diagonal mask are the layer's own. "
                "Received: flash_attention=True"
            )
        self.temperature = temperature
        self.temperature_form = temperature_form
        self.diagonal_mask = diagonal_mask
        self.output_bias = self._use_bias if output_bias is None else output_bias
        self.tau = None

    def build(self, query_shape, value_shape, key_shape=None):
        """Create the projections' weights and the temperature."""
        received = f"query_shape={tuple(query_shape)}, value_shape={tuple(value_shape)}"
        if len(query_shape) != 3 or len(value_shape) != 3:
            raise ValueError(f"Query and value are (batch, tokens, dim). Received: {received}")
        if self.diagonal_mask and query_shape[1] != value_shape[1]:
            raise ValueError(
                "diagonal_mask=True is for self-attention: query and value have the same number "
                f"of tokens. Received: {received}"
            )
        super().build(query_shape, value_shape, key_shape)
        # Keras makes the projections, with its names and weights; how they multiply is ours.
        for projection in (self.query_dense, self.key_dense, self.value_dense, self.output_dense):
            projection.__class__ = _TokensAsRows
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
        # Heads before tokens, so that XLA multiplies what lies in memory as it is multiplied.
        query = ops.transpose(self._scale(query), (0, 2, 1, 3))
        scores = ops.matmul(query, ops.transpose(key, (0, 2, 3, 1)))
        if self.diagonal_mask:
            # An additive constant: exp(low) is exactly 0, and so is its gradient. Keras's mask is
            # twice as low, so what it masks loses even to the diagonal.
            dtype = keras.backend.standardize_dtype(scores.dtype)
            low = -1.5e4 if dtype == "float16" else -5e8
            tokens = ops.shape(query)[2]
            scores = scores + low * ops.eye(tokens, dtype=dtype)
        scores = self._masked_softmax(scores, attention_mask)  # (batch, heads, T, S)
        dropped = scores
        if training and self._dropout > 0:
            dropped = hashed_dropout(scores, self._dropout, self._dropout_layer.seed_generator)
        attended = ops.matmul(dropped, ops.transpose(value, (0, 2, 1, 3)))
        return ops.transpose(attended, (0, 2, 1, 3)), scores

    def _scale(self, query):
        if self.tau is None:
            return query * (1.0 / math.sqrt(self.key_dim))
        tau = ops.cast(self.tau, query.dtype)
        return query / tau if self.temperature_form == "divisor" else query * tau


class _TokensAsRows(keras.layers.EinsumDense):
    """A projection as one matrix product, with all tokens of a batch as its rows.

    Keras's own is a product an image on TensorFlow, and so is the gradient of its kernel.
    """

    def call(self, inputs, training=None):
        bound = len(inputs.shape) - 2  # all axes but batch and tokens
        width, outputs = math.prod(self.kernel.shape[:bound]), self.kernel.shape[bound:]
        rows = ops.matmul(ops.reshape(inputs, (-1, width)), ops.reshape(self.kernel, (width, -1)))
        if self.bias is not None:
            rows = rows + ops.reshape(self.bias, (-1,))
        return ops.reshape(rows, (-1, ops.shape(inputs)[1], *outputs))
