"""Vision Transformers with weights of keras-hub, built from this package's layers.

So a trained one is saved, loaded, explained and exported like any other, without keras-hub.
"""

import keras
import numpy as np

from small_vit.errors import InputError
from small_vit.models.initialize import resample_positions
from small_vit.models.pretrained.preset import keras_hub_loading, read_preset
from small_vit.models.vit.build import create_vit_classifier
from small_vit.sizes import as_pair


def build(config, image_shape, num_classes, normalization):
    """Build the classifier of a `PretrainedConfig`; the `build` of its family in the registry.

    The head is new: it starts at zero. `normalization` is not used: raw images are normalised as
    the preset's were. Grey images are seen as colour images with three equal channels.
    """
    preset = read_preset(config.preset)
    with keras_hub_loading(config.preset) as keras_hub:
        backbone = keras_hub.models.ViTBackbone.from_preset(config.preset, dtype="float32")
    return _classifier(preset, backbone, config.image_size, image_shape, num_classes)


def pretrained_classifier(name):
    """Build the classifier of a preset with its own head, which knows the preset's classes.

    Args:
        name: As `PretrainedConfig.preset`.

    Returns:
        `(keras.Model, list of str)`: from raw images of the preset's size to logits, and the names
        of the classes; "class 0", "class 1", … where the preset has none.

    Raises:
        InputError: if the preset cannot be loaded, or has no head for classes.
    """
    preset = read_preset(name)
    with keras_hub_loading(name) as keras_hub:
        task = keras_hub.models.ViTImageClassifier.from_preset(name, dtype="float32")
    if task.pooling != "token" or task.intermediate_dim is not None:
        raise InputError(f"The head of the preset {name!r} is not one layer on the class token.")
    size = preset.config.image_size
    classes = task.num_classes
    classifier = _classifier(preset, task.backbone, size, (*as_pair(size), 3), classes)
    classifier.get_layer("logits").set_weights(task.output_dense.get_weights())
    return classifier, list(preset.class_names) or [f"class {index}" for index in range(classes)]


def _classifier(preset, backbone, image_size, image_shape, num_classes):
    """A classifier of small_vit with the weights of a `ViTBackbone`."""
    mean, deviation = np.array(preset.mean), np.array(preset.deviation)
    embedding = backbone.get_layer("vit_patching_and_embedding")
    class_token, kernel, bias, positions = embedding.get_weights()
    if image_shape[-1] == 1:
        kernel, bias, mean, deviation = _for_grey(kernel, bias, mean, deviation)
    classifier = create_vit_classifier(
        preset.config.replace(image_size=image_size),
        input_shape=image_shape,
        num_classes=num_classes,
        normalization=keras.layers.Normalization(
            mean=mean, variance=deviation**2, name="normalization"
        ),
        name="pretrained",
    )
    layer = classifier.get_layer
    encoder = layer("encoder")
    grid = [
        size // patch
        for size, patch in zip(backbone.image_shape, backbone.patch_size, strict=False)
    ]
    if tuple(grid) != encoder.num_patches:
        positions = resample_positions(positions, grid, encoder.num_patches, first=1)
    layer("tokenization").set_weights([kernel.reshape(-1, kernel.shape[-1]), bias])
    encoder.set_weights([class_token, positions])
    for number, block in enumerate(backbone.get_layer("vit_encoder").encoder_layers):
        layer(f"block_{number}").set_weights(block.get_weights())
    layer("norm").set_weights(backbone.get_layer("vit_encoder").layer_norm.get_weights())
    return classifier


def _for_grey(kernel, bias, mean, deviation):
    """Patch projection and statistics for one channel, as of three equal channels."""
    grey_mean, grey_deviation = mean.mean(keepdims=True), deviation.mean(keepdims=True)
    bias = bias + np.einsum("hwcd,c->d", kernel, (grey_mean - mean) / deviation)
    kernel = np.einsum("hwcd,c->hwd", kernel, grey_deviation / deviation)[:, :, None]
    return kernel, bias, grey_mean, grey_deviation
