"""Locality Self-Attention: a learned softmax temperature and a masked diagonal."""

import math

import keras
from keras import ops

from small_vit.layers.fast_dropout import FastDropout
from small_vit.layers.quantization import quantization_of, quantized_arguments

TEMPERATURES = ("none", "layer", "head")
TEMPERATURE_FORMS = ("divisor", "multiplier")

# For each name, how the fans of (query and key, value, output) are counted: see `_fans`.
ATTENTION_FANS = {
    "axes": ("axes", "axes", "axes"),
    "keras2": ("keras2", "keras2", "keras2"),
    "keras2_query_key": ("keras2", "axes", "axes"),
    "keras2_value": ("axes", "keras2", "axes"),
    "keras2_output": ("axes", "axes", "keras2"),
    "joint_qkv": ("joint", "joint", "axes"),
}


# Added to the scores on the diagonal. An attention mask adds twice this, so that a token attends to
# itself if the mask leaves it no other token.
_LOW = -5e8


@keras.saving.register_keras_serializable(package="small_vit")
class MultiHeadAttentionLSA(keras.layers.MultiHeadAttention):
    """Multi-head attention with a learnable temperature and a masked diagonal.

    It is a `keras.layers.MultiHeadAttention` (same call, same sublayers, same weights except the
    temperature). With `temperature="none", diagonal_mask=False` it computes the same.

    Source: Lee, Lee and Song, arXiv 2112.13492, section 3.2, equations 8 to 10.

    Args:
        num_heads: Number of heads.
        key_dim: Width of a query and a key in a head.
        temperature: `"layer"`: one learned scalar (the Keras example); `"head"`: one per head (the
            paper's code); `"none"`: fixed at sqrt(key_dim).
        temperature_form: `"divisor"`: scores are divided by a variable that starts at
            sqrt(key_dim) (the Keras example); `"multiplier"`: they are multiplied by one that
            starts at 1 / sqrt(key_dim) (the paper's code). Only the gradients differ at the start.
        diagonal_mask: Whether a token may not attend to itself. A token still attends to itself if
            there is no other token, or `attention_mask` leaves no other.
        output_bias: Whether the output projection has a bias. Default: as `use_bias`, which is for
            query, key and value. (The paper's code has a bias only on the output.)
        attention_fans: How `kernel_initializer` counts the fans of the four kernels, which sets the
            scale of their initial values. `"axes"`: inputs and outputs of each, as Keras 3.15 does.
            `"keras2"`: from the kernel's shape as for a convolution, as Keras 2 did; query, key and
            value kernels then start several times smaller (the Keras example). `"joint_qkv"`:
            query, key and value as one kernel (the paper's code). `"keras2_query_key"`,
            `"keras2_value"` and `"keras2_output"`: as Keras 2 for only these kernels.
        quantization: Quantization of the projections by `model.quantize`, from `get_config`.
        **kwargs: As for `keras.layers.MultiHeadAttention`: `value_dim`, `dropout`, `use_bias`,
            `kernel_initializer`, …

    Call arguments:
        query: `(batch, tokens, dim)`.
        value: `(batch, tokens, dim)`; with `diagonal_mask` it has as many tokens as `query`.
        attention_mask: Boolean, `(batch, tokens, tokens)` or broadcastable; false is not attended
            to. It applies in addition to the diagonal mask.
        return_attention_scores: Whether to return the probabilities (before dropout) too.

    Returns:
        `(batch, tokens, dim)`, and with `return_attention_scores` also
        `(batch, num_heads, tokens, tokens)`.

    Raises:
        ValueError: if an argument is not one of those named, a query, value or key is not
            `(batch, tokens, dim)`, value and key differ in length, or query and value do with
            `diagonal_mask`. In a TensorFlow graph in which lengths are known only when it runs, it
            is TensorFlow's InvalidArgumentError instead.
    """

    def __init__(
        self,
        num_heads,
        key_dim,
        temperature="layer",
        temperature_form="divisor",
        diagonal_mask=True,
        output_bias=None,
        attention_fans="axes",
        quantization=None,
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
        if attention_fans not in ATTENTION_FANS:
            raise ValueError(
                f"`attention_fans` is one of {tuple(ATTENTION_FANS)}. "
                f"Received: attention_fans={attention_fans!r}"
            )
        initializer = self._kernel_initializer
        scales_by_fans = isinstance(initializer, keras.initializers.VarianceScaling)
        if attention_fans != "axes" and (not scales_by_fans or initializer.input_axes is not None):
            raise ValueError(
                f"attention_fans={attention_fans!r} needs a `kernel_initializer` that scales by "
                "fans and sets no axes for them, for example 'glorot_uniform'. "
                f"Received: kernel_initializer={kwargs['kernel_initializer']!r}"
            )
        if kwargs.get("attention_axes") not in (None, 1, (1,), [1]):
            raise ValueError(
                "`attention_axes` can only be 1, the tokens. "
                f"Received: attention_axes={kwargs['attention_axes']!r}"
            )
        for name in ("flash_attention", "use_gate"):
            if kwargs.get(name):
                raise ValueError(
                    f"`{name}` does not work with a temperature and a diagonal mask. "
                    f"Received: {name}={kwargs[name]!r}"
                )
        self.temperature = temperature
        self.temperature_form = temperature_form
        self.diagonal_mask = diagonal_mask
        self.output_bias = self._use_bias if output_bias is None else output_bias
        self.attention_fans = attention_fans
        self.quantization = quantization or {}
        self.tau = None

    def build(self, query_shape, value_shape, key_shape=None):
        """Create the projections' weights and the temperature."""
        key_shape = value_shape if key_shape is None else key_shape
        self._check_tokens(query_shape, value_shape, key_shape)
        query_key, value, output = ATTENTION_FANS[self.attention_fans]
        heads, outputs = self._num_heads, self._output_shape or (query_shape[-1],)
        to_heads = {"equation": "abc,cde->abde", "bias_axes": "de" if self._use_bias else None}
        # Names, weights and their order are those of Keras's own attention.
        self._query_dense = self._projection(
            "query", query_shape, (heads, self._key_dim), query_key, **to_heads
        )
        self._key_dense = self._projection(
            "key", key_shape, (heads, self._key_dim), query_key, **to_heads
        )
        self._value_dense = self._projection(
            "value", value_shape, (heads, self._value_dim), value, **to_heads
        )
        axes = "efgh"[: len(outputs)]
        self._output_dense = self._projection(
            "attention_output",
            (*query_shape[:-1], heads, self._value_dim),
            outputs,
            output,
            equation=f"abcd,cd{axes}->ab{axes}",
            bias_axes=axes if self.output_bias else None,
        )
        self.attention_dropout = FastDropout(
            self._dropout, seed=self.seed, dtype=self.dtype_policy, name="dropout"
        )
        if self.temperature != "none":
            # A weight: Keras 3 would not train a tf.Variable.
            exponent = 0.5 if self.temperature_form == "divisor" else -0.5
            self.tau = self.add_weight(
                # Per head: (num_heads, 1), to broadcast over queries (batch, tokens, heads, dim).
                shape=() if self.temperature == "layer" else (self.num_heads, 1),
                initializer=keras.initializers.Constant(self.key_dim**exponent),
                # bfloat16 would round a temperature by up to 0.4 %.
                autocast=False,
                name="temperature",
            )

    def call(
        self,
        query,
        value,
        key=None,
        query_mask=None,
        value_mask=None,
        key_mask=None,
        attention_mask=None,
        return_attention_scores=False,
        training=None,
        use_causal_mask=False,
    ):
        """Return the attention output of each token of `query`."""
        key = value if key is None else key
        self._check_tokens(query.shape, value.shape, key.shape)
        attention_mask = self._compute_attention_mask(
            query,
            value,
            query_mask=query_mask,
            value_mask=value_mask,
            key_mask=key_mask,
            attention_mask=attention_mask,
            use_causal_mask=use_causal_mask,
        )
        attended, scores = self._compute_attention(
            _project(query, self._query_dense),
            _project(key, self._key_dense),
            _project(value, self._value_dense),
            attention_mask,
            training,
        )
        output = _project(attended, self._output_dense)
        return (output, scores) if return_attention_scores else output

    def compute_output_spec(self, query, value, key=None, **options):
        """Check the shapes and return the symbolic output."""
        key = value if key is None else key
        self._check_tokens(query.shape, value.shape, key.shape)
        return super().compute_output_spec(query, value, key, **options)

    def score_divisor(self):
        """Return the divisor of the scores, in either form of the temperature.

        Returns:
            float32 `(1,)`, or `(num_heads,)` with a temperature per head.
        """
        if self.tau is None:
            return ops.full((1,), math.sqrt(self.key_dim), dtype="float32")
        tau = ops.reshape(ops.cast(self.tau, "float32"), (-1,))
        return tau if self.temperature_form == "divisor" else 1 / tau

    def get_config(self):
        """Return the constructor's arguments."""
        quantization = self.quantization
        if self.built:
            projections = (self.query_dense, self.key_dense, self.value_dense, self.output_dense)
            quantization = quantization_of({each.name: each for each in projections})
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "temperature_form": self.temperature_form,
            "diagonal_mask": self.diagonal_mask,
            "output_bias": self.output_bias,
            "attention_fans": self.attention_fans,
            "quantization": quantization,
        }

    def _check_tokens(self, query_shape, value_shape, key_shape):
        shapes = {"query_shape": query_shape, "value_shape": value_shape, "key_shape": key_shape}
        received = ", ".join(f"{name}={tuple(shape)}" for name, shape in shapes.items())
        if any(len(shape) != 3 for shape in shapes.values()):
            raise ValueError(f"Query, value and key are (batch, tokens, dim). Received: {received}")
        if key_shape[1] != value_shape[1]:
            raise ValueError(f"Value and key have the same number of tokens. Received: {received}")
        if self.diagonal_mask and query_shape[1] != value_shape[1]:
            raise ValueError(
                "diagonal_mask=True is for self-attention: query and value have the same number "
                f"of tokens. Received: {received}"
            )

    def _projection(self, name, input_shape, outputs, fans, equation, bias_axes):
        """Return a built `EinsumDense`, the class that Keras quantizes and adds LoRA to."""
        options = self._get_common_kwargs_for_sublayer()
        options |= quantized_arguments(self.quantization, name)
        kernel_shape = (*input_shape[2:], *outputs)
        if fans != "axes":
            inputs = len(input_shape) - 2
            options["kernel_initializer"] = _with_fans(
                self._kernel_initializer,
                _fans(fans, kernel_shape, inputs),
                _fans("axes", kernel_shape, inputs),
            )
        projection = keras.layers.EinsumDense(
            equation, (None, *outputs), bias_axes=bias_axes, name=name, **options
        )
        projection.supports_masking = True  # Keras warns of a lost mask otherwise
        projection.build(input_shape)
        return projection

    def _compute_attention(self, query, key, value, attention_mask=None, training=None):
        # query: (batch, T, heads, key_dim); key, value: (batch, S, heads, key_dim or value_dim)
        # Heads before tokens, so that memory has the order in which XLA multiplies.
        query = ops.transpose(self._scale(query), (0, 2, 1, 3))
        scores = ops.matmul(query, ops.transpose(key, (0, 2, 3, 1)))
        # (batch, heads, T, S), in float32: half precision would round the probabilities coarsely.
        scores = ops.cast(scores, "float32")
        if self.diagonal_mask:
            # An additive constant: its exponential is exactly 0, and so is the gradient.
            tokens = ops.shape(scores)[2:]
            # The reshape fails if the numbers of tokens, known only in the call, differ.
            scores = scores + _LOW * ops.reshape(ops.eye(tokens[0]), tokens)
        scores = ops.cast(self._masked_softmax(scores, attention_mask), self.compute_dtype)
        dropped = self.attention_dropout(scores, training=training)
        attended = ops.matmul(dropped, ops.transpose(value, (0, 2, 1, 3)))
        return ops.transpose(attended, (0, 2, 1, 3)), scores

    def _masked_softmax(self, scores, attention_mask=None):
        if attention_mask is not None:
            if len(attention_mask.shape) == 3:
                attention_mask = attention_mask[:, None]
            scores = ops.where(attention_mask, scores, scores + 2 * _LOW)
        return ops.softmax(scores)

    def _scale(self, query):
        if self.tau is None:
            return query * (1.0 / math.sqrt(self.key_dim))
        query = ops.cast(query, self.tau.dtype)
        scaled = query / self.tau if self.temperature_form == "divisor" else query * self.tau
        return ops.cast(scaled, self.compute_dtype)


def _project(inputs, projection):
    """Return `projection(inputs)` as one matrix product, with all tokens of a batch as its rows.

    On TensorFlow, Keras itself makes one product per image, also for the gradient of the kernel.
    """
    if projection.quantization_mode is not None or projection.activity_regularizer is not None:
        return projection(inputs)
    bound = len(inputs.shape) - 2  # all axes but batch and tokens
    kernel = projection.kernel
    if tuple(inputs.shape[2:]) != tuple(kernel.shape[:bound]):
        # With another width, the reshape below would mix tokens.
        raise ValueError(
            f"The projection {projection.name!r} was built for tokens of shape "
            f"{tuple(kernel.shape[:bound])}. Received: {tuple(inputs.shape[2:])}"
        )
    width, outputs = math.prod(kernel.shape[:bound]), kernel.shape[bound:]
    rows = ops.matmul(ops.reshape(inputs, (-1, width)), ops.reshape(kernel, (width, -1)))
    if projection.bias is not None:
        rows = rows + ops.reshape(projection.bias, (-1,))
    return ops.reshape(rows, (-1, ops.shape(inputs)[1], *outputs))


def _fans(rule, kernel_shape, inputs):
    """Return `(fan_in, fan_out)` of a projection's kernel.

    Args:
        rule: `"axes"`: the products of its input and of its output axes. `"keras2"`: those of a
            convolution's kernel, with the last two axes as channels. `"joint"`: those of one kernel
            for query, key and value together.
        kernel_shape: Its shape.
        inputs: Number of its input axes.
    """
    if rule == "keras2":
        *window, channels, filters = kernel_shape
        return math.prod(window) * channels, math.prod(window) * filters
    fan_in, fan_out = math.prod(kernel_shape[:inputs]), math.prod(kernel_shape[inputs:])
    return fan_in, fan_out * (3 if rule == "joint" else 1)


def _with_fans(initializer, fans, axes_fans):
    """Return `initializer` rescaled: it draws a kernel of `axes_fans` as if it had `fans`."""
    counted = {"fan_in": lambda fans: fans[0], "fan_out": lambda fans: fans[1]}
    count = counted.get(initializer.mode, sum)
    return keras.initializers.VarianceScaling(
        initializer.scale * count(axes_fans) / count(fans),
        initializer.mode,
        initializer.distribution,
        seed=initializer.get_config()["seed"],
    )
