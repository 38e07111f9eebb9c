"""Initial weights from a trained model of the same family."""

from dataclasses import dataclass

import keras
import numpy as np
from scipy.ndimage import zoom

from small_vit.errors import InputError
from small_vit.layers import PatchEncoder, ShiftedPatchTokenization
from small_vit.models.registry import backbone_and_head

LAST_LAYER = "logits"
"""Name of the layer with an output for each class, in every family."""


@dataclass(frozen=True)
class Initialized:
    """Where the weights of a classifier come from.

    Attributes:
        loaded: Paths of the variables whose values are those of the source.
        resampled: Those of positions, interpolated to another grid of patches.
        summed: Those of the first layer, whose kernels for colour are summed for grey images.
        new: Those that are not from the source.
        unused: Paths of the source's variables that fit nowhere.
    """

    loaded: tuple[str, ...]
    resampled: tuple[str, ...]
    summed: tuple[str, ...]
    new: tuple[str, ...]
    unused: tuple[str, ...]


def load_initial_weights(classifier, config, source, source_config, same_classes):
    """Set the weights of a classifier to those of a trained one, by the paths of their variables.

    Positions are interpolated where the grid of patches differs. Grey images may follow images in
    colour: each kernel of the first layer is then summed over the channels, which is what it makes
    of a grey image in colour. The head's layers are loaded from its first one on, up to the first
    that does not fit; if the heads have other layers, none is. The last layer does not fit where
    the classes differ. If it stays new it starts at zero, and all classes are equally probable.

    The normalisation of raw images stays that of the classifier, which is that of its training
    images.

    Args:
        classifier: `keras.Model` from `build_classifier`, changed in place.
        config: Its config.
        source: Trained `keras.Model` of the same family.
        source_config: Its config.
        same_classes: Whether both have the same classes in the same order.

    Returns:
        `Initialized`.

    Raises:
        InputError: if the families, the numbers of channels, or settings that give the weights
            another meaning differ (patch size and shifts, for instance), or a variable before the
            head is missing in the source or has another shape there. The classifier is then
            unchanged.

    Source: Dosovitskiy et al., arXiv 2010.11929, section 3.2.
    """
    refuse_another_model(config, source_config)
    _refuse_colour_after_grey(classifier, source)
    variables = _variables(classifier.layers)
    found = {path: _value(variable) for path, variable in _variables(source.layers).items()}
    resampled = _positions_on_new_grid(classifier, source)
    summed = _summed_over_channels(classifier, source)
    values = found | resampled | summed
    backbone, head = backbone_and_head(classifier)
    required = _variables(backbone.layers)
    for path, variable in required.items():
        if path not in values or values[path].shape != tuple(variable.shape):
            there = f"of shape {values[path].shape}" if path in values else "missing"
            raise InputError(
                f"The initial weights do not fit the model: {path} is of shape "
                f"{tuple(variable.shape)} here and {there} in init_from. Leave out settings of the "
                "model: they are those of init_from."
            )
    loaded = [*required, *_fitting_head(head, backbone_and_head(source)[1], same_classes)]
    for path in loaded:
        variables[path].assign(values[path])
    for path in _variables([classifier.get_layer(LAST_LAYER)]).keys() - set(loaded):
        variables[path].assign(np.zeros(variables[path].shape, "float32"))
    return Initialized(
        loaded=tuple(path for path in loaded if path not in resampled | summed),
        resampled=tuple(resampled),
        summed=tuple(summed),
        new=tuple(path for path in variables if path not in loaded),
        unused=tuple(path for path in found if path not in loaded),
    )


_OF_SOURCE = (
    "kind",
    # The number of layers, and what comes before the blocks.
    *("num_layers", "depth", "stem", "conv_layers", "patch_size"),
    *("shifts", "shift_ratio", "patch_norm", "position_embedding"),
    # Attention.
    *("num_heads", "qkv_bias", "temperature", "temperature_form", "diagonal_mask"),
    "mlp_output_activation",
    "norm_epsilon",
)
"""Settings that give the same weights another meaning."""


def refuse_another_model(config, source_config):
    """Check that a model's settings let the weights of another mean the same in it.

    Args:
        config: Config of the model.
        source_config: Config of the trained model.

    Raises:
        InputError: if a setting differs that must not.
    """
    for name in _OF_SOURCE:
        here, there = getattr(config, name, None), getattr(source_config, name, None)
        if here != there:
            raise InputError(
                f"{name} must be that of init_from, {there!r}: its weights are for such models "
                f"only. Received: {here!r}."
            )


def _fitting_head(head, source_head, same_classes):
    """The paths of the head's variables that are loaded: behind a new layer all are new."""
    layers, source_layers = (
        [each for each in model.layers if each.weights] for model in (head, source_head)
    )
    if [each.name for each in layers] != [each.name for each in source_layers]:
        return []
    paths = []
    for layer, source_layer in zip(layers, source_layers, strict=True):
        shapes, found = (
            [tuple(each.shape) for each in one.weights] for one in (layer, source_layer)
        )
        if shapes != found or (layer.name == LAST_LAYER and not same_classes):
            break
        paths += _variables([layer])
    return paths


def _refuse_colour_after_grey(classifier, source):
    here, there = classifier.input_shape[-1], source.input_shape[-1]
    if here > there:
        raise InputError(
            f"init_from must take images of {here} channels, as the new images have. "
            f"Received: a model for {there}."
        )


def _variables(layers):
    """The weights of layers by path, without the normalisation of raw images."""
    return {
        variable.path: variable
        for layer in layers
        if layer.name != "normalization"
        for variable in layer.weights
    }


def _value(variable):
    return keras.ops.convert_to_numpy(variable)


def _positions_on_new_grid(classifier, source):
    """The learned positions by path where the grid of patches differs."""
    found = {layer.name: layer for layer in source.layers if isinstance(layer, PatchEncoder)}
    resampled = {}
    for layer in classifier.layers:
        old = found.get(layer.name)
        if not isinstance(layer, PatchEncoder) or old is None:
            continue
        if old.num_patches == layer.num_patches or old.class_token != layer.class_token:
            continue
        for variable in old.weights:
            if variable.name == "position_embedding":
                resampled[variable.path] = resample_positions(
                    _value(variable), old.num_patches, layer.num_patches, int(old.class_token)
                )
    return resampled


def resample_positions(positions, grid, new_grid, first=0):
    """Interpolate learned positions linearly in two dimensions, corners on corners.

    Args:
        positions: `(first + rows * columns, dim)`.
        grid: (rows, columns) of the patches.
        new_grid: (rows, columns) to interpolate to.
        first: Number of tokens before the patches, which stay as they are.

    Returns:
        `(first + new rows * new columns, dim)`.

    Source: as in big_vision (github.com/google-research/big_vision).
    """
    table = positions[first:].reshape(*grid, -1)
    factors = (new_grid[0] / grid[0], new_grid[1] / grid[1], 1)
    # "nearest": rounding may put the last corner just outside the grid, where SciPy fills in zeros.
    zoomed = zoom(table, factors, order=1, mode="nearest")
    return np.concatenate([positions[:first], zoomed.reshape(-1, table.shape[-1])])


def _summed_over_channels(classifier, source):
    """The first layer's values by path where colour becomes grey, as of equal channels."""
    channels = source.input_shape[-1]
    if classifier.input_shape[-1] == channels:
        return {}
    layer = next(layer for layer in source.layers if _variables([layer]))
    values = {path: _value(variable) for path, variable in _variables([layer]).items()}
    if not isinstance(layer, ShiftedPatchTokenization):
        kernel = f"{layer.name}/kernel"
        return {kernel: values[kernel].sum(axis=-2, keepdims=True)}
    projection, norm = f"{layer.name}/projection", f"{layer.name}/layer_norm"
    kernel, bias = values[f"{projection}/kernel"], values[f"{projection}/bias"]
    if layer.patch_norm:
        # Its scale and offset differ from channel to channel: the projection takes them over.
        gamma, beta = values[f"{norm}/gamma"], values[f"{norm}/beta"]
        features = len(gamma) // channels
        values[f"{norm}/gamma"] = np.ones(features, gamma.dtype)
        values[f"{norm}/beta"] = np.zeros(features, beta.dtype)
        kernel, bias = gamma[:, None] * kernel, bias + beta @ kernel
    # The values of a patch are (pixels and copies, channels).
    values[f"{projection}/kernel"] = kernel.reshape(-1, channels, kernel.shape[-1]).sum(axis=1)
    values[f"{projection}/bias"] = bias
    return values
