"""A classifier with the weights of the paper's code or of vit-pytorch."""

import math
from dataclasses import dataclass

import keras
import numpy as np

from small_vit.errors import InputError
from small_vit.layers import (
    ClassTokenPooling,
    PatchEncoder,
    ShiftedPatchTokenization,
    TransformerBlock,
)
from small_vit.models.state_dict import read_state_dict, weights_by_path
from small_vit.sizes import as_pair

__all__ = ["from_state_dict", "read_state_dict"]

_EPSILON = 1e-5
"""Epsilon of all LayerNorms in the PyTorch models: PyTorch's default."""


@dataclass(frozen=True)
class _Tokenization:
    """How a PyTorch model shifts its images.

    Attributes:
        shifts: Directions of the copies, as in `ShiftedPatchTokenization`.
        order: For each copy in this package, its place among those of the PyTorch model.
        shift: Length of a shift in pixels. Default: half a patch.
    """

    shifts: str
    order: tuple[int, ...]
    shift: int | None = None


_TOKENIZATIONS = {
    "to_patch_embedding.merging": _Tokenization("diagonal", (0, 4, 2, 3, 1)),
    "to_patch_embedding.to_patch_tokens": _Tokenization("cardinal", (0, 4, 3, 2, 1), shift=1),
    "to_patch_embedding": _Tokenization("none", (0,)),
}
"""By the first part of their weights' names: of the paper, of vit_for_small_dataset, of others."""


def from_state_dict(state, image_size, num_heads, pool="cls", mean=0.0, std=1.0):
    """Return a classifier with the weights of a model of the paper's code or of vit-pytorch.

    It takes raw images: dividing by 255 and normalising, which their code does before the model, is
    its first layer. Its logits are theirs to 1e-5. Names and weights of its layers are those of
    `create_vit_classifier`, without any dropout. Two layers are vit-pytorch's alone: "token_norm",
    after the tokenization of its `ViT`, and "pooled_norm", after a mean of tokens that are not
    normalised.

    Args:
        state: From `read_state_dict`, or `model.state_dict()`: arrays or CPU tensors by name. Its
            names tell which model it is from: the paper's ViT with or without SPT and LSA,
            vit-pytorch's `ViT`, or its `vit_for_small_dataset.ViT`.
        image_size: Side of the images in pixels, or (height, width). Patches are square.
        num_heads: `heads` of the PyTorch model, which no weight shows; in the paper 12.
        pool: Its `pool`: "cls", or "mean" of all tokens, the class token included.
        mean, std: Those of torchvision's `Normalize`: a float, or one for each channel. Default:
            images are only divided by 255, as by `ToTensor`.

    Returns:
        A functional `keras.Model` from `(batch, height, width, channels)`, uint8 or float, to
        float32 logits `(batch, num_classes)`.

    Raises:
        InputError: if the state is not of such a model, or does not fit the other arguments.
    """
    if pool not in ("cls", "mean"):
        raise InputError(f"pool must be 'cls' or 'mean'. Received: {pool!r}.")
    prefix = next(each for each in _TOKENIZATIONS if _starts_a_name(each, state))
    values = weights_by_path(state, prefix, num_heads, pool)
    if pool == "cls" and "encoder/class_token" not in values:
        raise InputError("The model has no class token, so pool is 'mean'. Received: 'cls'.")
    tokenization = _TOKENIZATIONS[prefix]
    patch_size, channels = _patches(values, len(tokenization.order), image_size)
    for weight in ("projection/kernel", "layer_norm/gamma", "layer_norm/beta"):
        if (path := f"tokenization/{weight}") in values:
            values[path] = _reordered(values[path], tokenization.order, channels)

    images = keras.Input((*as_pair(image_size), channels), name="images")
    x = _normalization(mean, std, channels)(images)
    x = _tokens(x, values, tokenization, patch_size)
    for index in range(sum(path.endswith("/query/kernel") for path in values)):
        x = _block(f"block_{index}", values)(x)
    classifier = keras.Model(images, _head(x, values, pool), name="small_vit")
    _set_weights(classifier, values)
    return classifier


def _starts_a_name(prefix, state):
    return prefix == "to_patch_embedding" or any(name.startswith(f"{prefix}.") for name in state)


def _patches(values, copies, image_size):
    """Return the side of a patch and the number of channels."""
    tokens = len(values["encoder/position_embedding"]) - ("encoder/class_token" in values)
    features = len(values["tokenization/projection/kernel"])
    height, width = as_pair(image_size, "image_size")
    side = math.isqrt(height * width // max(tokens, 1))
    if side and height % side == width % side == 0 and height * width == tokens * side**2:
        channels, rest = divmod(features, copies * side**2)
        if channels and not rest:
            return side, channels
    raise InputError(
        f"image_size must be that of the model: {tokens} square patches, each with {features} "
        f"values. Received: {image_size}."
    )


def _reordered(weight, order, channels):
    """Put the copies of a weight of `(patch pixels x copies x channels, …)` in the order here."""
    parts = weight.reshape(-1, len(order), channels, *weight.shape[1:])
    return parts[:, list(order)].reshape(weight.shape)


def _normalization(mean, std, channels):
    """The layer that does to raw images what `ToTensor` and `Normalize` do."""
    try:
        mean, std = (np.broadcast_to(255.0 * np.asarray(each), channels) for each in (mean, std))
    except ValueError as error:
        raise InputError(
            f"mean and std must be a float, or one for each of {channels} channels. "
            f"Received: mean={mean}, std={std}."
        ) from error
    return keras.layers.Normalization(
        mean=mean.tolist(), variance=(std**2).tolist(), name="normalization"
    )


def _tokens(images, values, tokenization, patch_size):
    """(batch, height, width, channels) -> (batch, tokens, dim)."""
    dim = values["tokenization/projection/bias"].size
    tokens, patches = ShiftedPatchTokenization(
        patch_size=patch_size,
        projection_dim=dim,
        shifts=tokenization.shifts,
        shift_ratio=tokenization.shift / patch_size if tokenization.shift else 0.5,
        patch_norm="tokenization/layer_norm/gamma" in values,
        norm_epsilon=_EPSILON,
        name="tokenization",
    )(images)
    if "token_norm/gamma" in values:
        tokens = keras.layers.LayerNormalization(epsilon=_EPSILON, name="token_norm")(tokens)
    return PatchEncoder(
        num_patches=patches.shape[1:3],
        projection_dim=dim,
        class_token="encoder/class_token" in values,
        name="encoder",
    )(tokens)


def _block(name, values):
    _, num_heads, key_dim = values[f"{name}/attention/query/kernel"].shape
    temperature = values.get(f"{name}/attention/temperature")
    learned = "none" if temperature is None else "head" if temperature.ndim else "layer"
    return TransformerBlock(
        num_heads=num_heads,
        key_dim=key_dim,
        mlp_units=values[f"{name}/mlp_hidden/bias"].size,
        temperature=learned,
        temperature_form="multiplier",
        diagonal_mask=learned != "none",
        qkv_bias=False,
        attention_dropout=0.0,
        dropout=0.0,
        mlp_output_activation=False,
        norm_epsilon=_EPSILON,
        name=name,
    )


def _head(tokens, values, pool):
    """(batch, tokens, dim) -> (batch, num_classes)."""
    x = tokens
    if "norm/gamma" in values:
        x = keras.layers.LayerNormalization(epsilon=_EPSILON, name="norm")(x)
    if pool == "cls":
        x = ClassTokenPooling(name="pooling")(x)
    else:
        x = keras.layers.GlobalAveragePooling1D(data_format="channels_last", name="pooling")(x)
    if "pooled_norm/gamma" in values:
        x = keras.layers.LayerNormalization(epsilon=_EPSILON, name="pooled_norm")(x)
    return keras.layers.Dense(values["logits/bias"].size, dtype="float32", name="logits")(x)


def _set_weights(classifier, values):
    for variable in classifier.weights:
        value = values[variable.path]
        if value.shape != tuple(variable.shape):
            raise InputError(
                f"The state dict does not fit together: {variable.path} must have the shape "
                f"{tuple(variable.shape)}. Received: {value.shape}."
            )
        variable.assign(value)
