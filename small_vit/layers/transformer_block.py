"""One pre-norm transformer block."""

import keras

from small_vit.layers.fast_dropout import FastDropout
from small_vit.layers.multi_head_attention_lsa import MultiHeadAttentionLSA
from small_vit.layers.quantization import quantization_of, quantized_arguments
from small_vit.layers.stochastic_depth import StochasticDepth


@keras.saving.register_keras_serializable(package="small_vit")
class TransformerBlock(keras.layers.Layer):
    """Attention and an MLP, each after a LayerNorm and with a shortcut.

    Source: Dosovitskiy et al., arXiv 2010.11929, equations 2 and 3; the defaults are the Keras
    example's block.

    Args:
        num_heads: Attention heads.
        key_dim: Width of a head.
        mlp_units: Width of the MLP's hidden layer.
        temperature, temperature_form, diagonal_mask, attention_fans: As in
            `MultiHeadAttentionLSA`.
        qkv_bias: Whether query, key and value projections have a bias.
        attention_dropout: Dropout of the attention probabilities.
        dropout: Dropout after each Dense of the MLP.
        mlp_output_activation: Whether GELU follows the second Dense too.
        stochastic_depth: Probability to skip a branch for an example.
        norm_epsilon: Epsilon of the LayerNorms.
        kernel_initializer: Initializer of all kernels.
        quantization: Quantization of its parts by `model.quantize`, from `get_config`.

    Call arguments:
        tokens: `(batch, tokens, dim)`.
        attention_mask: Boolean, `(batch, tokens, tokens)` or broadcastable; false is not attended
            to.
        mask: Boolean, `(batch, tokens)`; false is padding, which no token attends to. Default: the
            mask that Keras keeps with `tokens`. It is passed on to the output.

    Returns:
        `(batch, tokens, dim)`.
    """

    def __init__(
        self,
        num_heads,
        key_dim,
        mlp_units,
        temperature="layer",
        temperature_form="divisor",
        diagonal_mask=True,
        qkv_bias=True,
        attention_dropout=0.1,
        dropout=0.1,
        mlp_output_activation=True,
        stochastic_depth=0.0,
        norm_epsilon=1e-6,
        kernel_initializer="glorot_uniform",
        attention_fans="axes",
        quantization=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.mlp_units = mlp_units
        self.temperature = temperature
        self.temperature_form = temperature_form
        self.diagonal_mask = diagonal_mask
        self.qkv_bias = qkv_bias
        self.attention_dropout = attention_dropout
        self.dropout = dropout
        self.mlp_output_activation = mlp_output_activation
        self.stochastic_depth = stochastic_depth
        self.norm_epsilon = norm_epsilon
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.attention_fans = attention_fans
        self.quantization = quantization or {}

    def build(self, input_shape):
        """Create the sublayers and their weights."""
        policy = self.dtype_policy
        norm = {"epsilon": self.norm_epsilon, "dtype": policy}
        dim = input_shape[-1]
        self.input_spec = keras.InputSpec(ndim=3, axes={-1: dim})

        def dense(name):
            # Cloned, since one initializer instance would draw the same values twice.
            options = {"kernel_initializer": self.kernel_initializer.clone(), "dtype": policy}
            return options | quantized_arguments(self.quantization, name) | {"name": name}

        self.attention_norm = keras.layers.LayerNormalization(**norm, name="attention_norm")
        self.attention = MultiHeadAttentionLSA(
            self.num_heads,
            self.key_dim,
            temperature=self.temperature,
            temperature_form=self.temperature_form,
            diagonal_mask=self.diagonal_mask,
            use_bias=self.qkv_bias,
            output_bias=True,
            dropout=self.attention_dropout,
            attention_fans=self.attention_fans,
            kernel_initializer=self.kernel_initializer.clone(),
            quantization=self.quantization.get("attention"),
            dtype=policy,
            name="attention",
        )
        self.mlp_norm = keras.layers.LayerNormalization(**norm, name="mlp_norm")
        self.mlp_hidden = keras.layers.Dense(
            self.mlp_units, activation="gelu", **dense("mlp_hidden")
        )
        self.mlp_output = keras.layers.Dense(
            dim,
            activation="gelu" if self.mlp_output_activation else None,
            **dense("mlp_output"),
        )
        self.mlp_hidden_dropout = FastDropout(self.dropout, dtype=policy)
        self.mlp_output_dropout = FastDropout(self.dropout, dtype=policy)
        self.skip_attention = StochasticDepth(self.stochastic_depth, dtype=policy)
        self.skip_mlp = StochasticDepth(self.stochastic_depth, dtype=policy)
        hidden_shape = (*input_shape[:-1], self.mlp_units)
        self.attention_norm.build(input_shape)
        self.attention.build(input_shape, input_shape)
        self.mlp_norm.build(input_shape)
        self.mlp_hidden.build(input_shape)
        self.mlp_output.build(hidden_shape)
        self.skip_attention.build(input_shape)
        self.skip_mlp.build(input_shape)

    def call(self, tokens, attention_mask=None, mask=None, training=None):
        """Return the block's output."""
        normed = self.attention_norm(tokens)
        attended = self.attention(
            normed,
            normed,
            query_mask=mask,
            value_mask=mask,
            attention_mask=attention_mask,
            training=training,
        )
        tokens = tokens + self.skip_attention(attended, training=training)
        hidden = self.mlp_hidden(self.mlp_norm(tokens))
        hidden = self.mlp_hidden_dropout(hidden, training=training)
        output = self.mlp_output_dropout(self.mlp_output(hidden), training=training)
        return tokens + self.skip_mlp(output, training=training)

    def attention_scores(self, tokens, attention_mask=None):
        """Return the attention probabilities for `tokens`, `(batch, num_heads, tokens, tokens)`."""
        normed = self.attention_norm(tokens)
        return self.attention(
            normed, normed, attention_mask=attention_mask, return_attention_scores=True
        )[1]

    def compute_output_shape(self, input_shape):
        """Return the shape of the tokens."""
        return input_shape

    def get_config(self):
        """Return the constructor's arguments."""
        quantization = self.quantization
        if self.built:
            dense = {"mlp_hidden": self.mlp_hidden, "mlp_output": self.mlp_output}
            quantization = quantization_of(dense)
            of_attention = self.attention.get_config()["quantization"]
            quantization |= {"attention": of_attention} if of_attention else {}
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "mlp_units": self.mlp_units,
            "temperature": self.temperature,
            "temperature_form": self.temperature_form,
            "diagonal_mask": self.diagonal_mask,
            "qkv_bias": self.qkv_bias,
            "attention_dropout": self.attention_dropout,
            "dropout": self.dropout,
            "mlp_output_activation": self.mlp_output_activation,
            "stochastic_depth": self.stochastic_depth,
            "norm_epsilon": self.norm_epsilon,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "attention_fans": self.attention_fans,
            "quantization": quantization,
        }


def transformer_blocks(model):
    """Return the `TransformerBlock`s of a model from `create_vit_classifier`, first to last."""
    return [layer for layer in model.layers if isinstance(layer, TransformerBlock)]
