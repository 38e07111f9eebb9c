"""The Vision Transformer classifier."""

import keras
import numpy as np

from small_vit.errors import InputError
from small_vit.layers import (
    ClassTokenPooling,
    FastDropout,
    PatchEncoder,
    ShiftedPatchTokenization,
    TransformerBlock,
)
from small_vit.models.inputs import prepared_images
from small_vit.models.vit.config import ViTConfig

_EMBEDDING_INITIALIZERS = {
    "uniform": lambda: keras.initializers.RandomUniform(),
    "standard_normal": lambda: keras.initializers.RandomNormal(stddev=1.0),
}


def create_vit_classifier(
    config=None,
    *,
    vanilla=False,
    input_shape=(32, 32, 3),
    num_classes=100,
    normalization=None,
    augmentation=None,
    name="small_vit",
    **fields,
):
    """Build a Vision Transformer that takes raw images and returns logits.

    Normalisation, resizing and augmentation (in training only) are layers of the model, so a saved
    model takes images as the dataset has them. With no arguments it is the SPT+LSA model of the
    Keras example `vit_small_ds`; weights and their order are the example's too, except for
    the temperatures.

    Args:
        config: A `ViTConfig`. Default: `ViTConfig()`.
        vanilla: Whether to leave out SPT and LSA (`ViTConfig.vanilla`).
        input_shape: (height, width, channels) of the raw images.
        num_classes: Number of logits.
        normalization: Layer applied to the raw images. Default: a `keras.layers.Normalization`,
            which is the identity until `model.get_layer("normalization").adapt(images)`.
        augmentation: Layer applied after resizing, in training. Default: none.
        name: Name of the model. The members of an ensemble in one `keras.Model` need different
            names; `model.name = "other"` renames a loaded model.
        **fields: Fields of `ViTConfig` to change: `patch_size=4, pooling="mean"`, …

    Returns:
        A functional `keras.Model` from `(batch, height, width, channels)`, uint8 or float, to
        float32 logits `(batch, num_classes)`.

    Raises:
        InputError: if a field is out of range or does not fit the others, or if `config` or
            `input_shape` is of another type.
        TypeError: if a keyword is not a field of `ViTConfig`.
    """
    config = ViTConfig() if config is None else config
    if not isinstance(config, ViTConfig):
        raise InputError(f"`config` must be a ViTConfig. Received: config={config!r}")
    if np.shape(input_shape) != (3,):
        raise InputError(
            "`input_shape` must be (height, width, channels). "
            f"Received: input_shape={input_shape!r}"
        )
    config = config.replace(**fields)
    if vanilla:
        config = config.vanilla()

    images, x = prepared_images(input_shape, config.image_size, normalization)
    if augmentation is not None:
        x = augmentation(x)
    x = _tokens(x, config)
    for index in range(config.num_layers):
        x = _block(config, index)(x)
    logits = _head(x, config, num_classes)
    return keras.Model(images, logits, name=name)


def build(config, image_shape, num_classes, normalization):
    """Build the classifier of a `ViTConfig`; the `build` of its family in the registry."""
    return create_vit_classifier(
        config, input_shape=image_shape, num_classes=num_classes, normalization=normalization
    )


def _tokens(images, config):
    """(batch, height, width, channels) -> (batch, tokens, projection_dim)."""
    tokens, patches = ShiftedPatchTokenization(
        image_size=config.feature_size,
        patch_size=config.patch_size,
        projection_dim=config.projection_dim,
        shifts=config.shifts,
        shift_ratio=config.shift_ratio,
        patch_norm=config.patch_norm,
        stride=config.stride,
        norm_epsilon=config.norm_epsilon,
        kernel_initializer=_kernel_initializer(config),
        name="tokenization",
    )(config.convolutions.apply(images))
    return PatchEncoder(
        num_patches=patches.shape[1:3],
        projection_dim=config.projection_dim,
        position_embedding=config.position_embedding,
        class_token=config.pooling == "class_token",
        embedding_initializer=_EMBEDDING_INITIALIZERS[config.embedding_initializer](),
        name="encoder",
    )(tokens)


def _block(config, number):
    rate = config.stochastic_depth
    if config.stochastic_depth_rule == "linear":
        rate *= (number + 1) / config.num_layers  # Huang et al., arXiv 1603.09382, eq. 4
    return TransformerBlock(
        num_heads=config.num_heads,
        key_dim=config.key_dim,
        mlp_units=config.mlp_units,
        temperature=config.temperature,
        temperature_form=config.temperature_form,
        diagonal_mask=config.diagonal_mask,
        qkv_bias=config.qkv_bias,
        attention_dropout=config.attention_dropout,
        dropout=config.dropout,
        mlp_output_activation=config.mlp_output_activation,
        stochastic_depth=rate,
        norm_epsilon=config.norm_epsilon,
        kernel_initializer=_kernel_initializer(config),
        attention_fans=config.attention_fans,
        name=f"block_{number}",
    )


def _head(tokens, config, num_classes):
    """(batch, tokens, projection_dim) -> (batch, num_classes)."""
    x = keras.layers.LayerNormalization(epsilon=config.norm_epsilon, name="norm")(tokens)
    if config.pooling == "flatten":
        x = keras.layers.Flatten(data_format="channels_last", name="pooling")(x)
    elif config.pooling == "mean":
        x = keras.layers.GlobalAveragePooling1D(data_format="channels_last", name="pooling")(x)
    else:
        x = ClassTokenPooling(name="pooling")(x)
    x = FastDropout(config.head_dropout, name="head_dropout")(x)
    for index, units in enumerate(config.head_units):
        x = keras.layers.Dense(
            units,
            activation="gelu",
            kernel_initializer=_kernel_initializer(config),
            name=f"head_{index}",
        )(x)
        x = FastDropout(config.head_dropout, name=f"head_{index}_dropout")(x)
    # Logits stay float32 under mixed precision: the loss needs their range.
    kernel = "zeros" if config.zero_head else _kernel_initializer(config)
    return keras.layers.Dense(
        num_classes, dtype="float32", kernel_initializer=kernel, name="logits"
    )(x)


def _kernel_initializer(config):
    if config.kernel_initializer == "xavier_normal":
        # Keras's glorot_normal is truncated at two standard deviations, PyTorch's is not.
        return keras.initializers.VarianceScaling(1.0, "fan_avg", "untruncated_normal")
    return keras.initializers.get(config.kernel_initializer)
