"""The compact convolutional transformer for classification."""

import keras

from small_vit.layers import PatchEncoder, SequencePooling, TransformerBlock
from small_vit.models.inputs import prepared_images


def build(config, image_shape, num_classes, normalization):
    """Build the classifier of a `CCTConfig`; the `build` of its family in the registry.

    Initial values are those of the authors' code (github.com/SHI-Labs/Compact-Transformers). That
    code adds the output of a block's MLP to the normalised tokens; here it is added to the tokens,
    as in the Vision Transformer, whose encoder the paper says it uses.

    Source: Hassani et al., arXiv 2104.05704, section 3.
    """
    images, x = prepared_images(image_shape, config.image_size, normalization)
    x = _tokens(x, config)
    for number in range(config.num_layers):
        x = _block(config, number)(x)
    x = keras.layers.LayerNormalization(epsilon=1e-5, name="norm")(x)
    x = SequencePooling(kernel_initializer=_kernel_initializer(), name="pooling")(x)
    # Logits stay float32 under mixed precision: the loss needs their range.
    logits = keras.layers.Dense(
        num_classes, kernel_initializer=_kernel_initializer(), dtype="float32", name="logits"
    )(x)
    return keras.Model(images, logits, name="cct")


def _tokens(x, config):
    """(batch, height, width, channels) -> (batch, tokens, projection_dim)."""
    x = config.convolutions.apply(x)
    rows, columns, dim = x.shape[1:]
    tokens = keras.layers.Reshape((rows * columns, dim), name="tokens")(x)
    return PatchEncoder(
        num_patches=(rows, columns),
        projection_dim=dim,
        embedding_initializer=keras.initializers.RandomNormal(stddev=0.2),
        name="encoder",
    )(tokens)


def _block(config, number):
    return TransformerBlock(
        num_heads=config.num_heads,
        key_dim=config.projection_dim // config.num_heads,
        mlp_units=config.mlp_units,
        temperature=config.temperature,
        diagonal_mask=config.diagonal_mask,
        qkv_bias=False,
        attention_dropout=config.attention_dropout,
        dropout=config.dropout,
        mlp_output_activation=False,
        stochastic_depth=config.stochastic_depth * number / max(1, config.num_layers - 1),
        norm_epsilon=1e-5,
        kernel_initializer=_kernel_initializer(),
        name=f"block_{number}",
    )


def _kernel_initializer():
    # PyTorch's trunc_normal_(std=0.02) truncates at ±2, which is 100 standard deviations.
    return keras.initializers.RandomNormal(stddev=0.02)
