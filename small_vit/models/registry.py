"""The model families by kind. The rest of the package uses models only through this module.

A family is a package next to this file. Its config is imported here. The code that builds the model
imports Keras, so it is imported only when it is used.
"""

import importlib
from dataclasses import dataclass
from typing import Any

from small_vit.errors import InputError
from small_vit.models.vit.config import PLAIN, ViTConfig
from small_vit.settings import Settings


@dataclass(frozen=True)
class Family:
    """A family of models.

    Attributes:
        config: Class of its settings; `config.kind` is the family's name.
        plain: Changes to the settings that give the arm "vanilla".
        build: "module:function" from `(config, image_shape, num_classes, normalization)` to a
            functional `keras.Model` from raw images to logits. Its layers "normalization" and
            "resize" (if it resizes) come first; "pooling" gives the input of the head.
        count: "module:function" from `(config, image_shape, num_classes)` to the `MultiplyAdds` of
            one image's forward pass.
    """

    config: type[Settings]
    plain: dict[str, Any]
    build: str
    count: str


FAMILIES: dict[str, Family] = {
    "vit": Family(
        config=ViTConfig,
        plain=PLAIN,
        build="small_vit.models.vit.build:build",
        count="small_vit.models.vit.multiply_adds:count",
    ),
}
"""The families by kind."""


def model_config(kind="vit", **fields):
    """Return the config of a model.

    Args:
        kind: One of `FAMILIES`.
        **fields: Settings that differ from the defaults.

    Raises:
        InputError: if there is no such family, or a value is out of range.
    """
    if kind not in FAMILIES:
        raise InputError(f"kind must be one of {', '.join(FAMILIES)}. Received: {kind!r}.")
    return FAMILIES[kind].config(**fields)


def build_classifier(config, image_shape, num_classes, normalization=None):
    """Build the classifier of a model config.

    Args:
        config: From `model_config`.
        image_shape: (height, width, channels) of the raw images.
        num_classes: Number of logits.
        normalization: Layer applied to the raw images. Default: a `keras.layers.Normalization`.

    Returns:
        A functional `keras.Model` from `(batch, height, width, channels)`, uint8 or float, to
        float32 logits `(batch, num_classes)`.
    """
    build = _imported(FAMILIES[config.kind].build)
    return build(config, image_shape, num_classes, normalization)


def backbone_and_head(classifier):
    """Return the two parts of a classifier from `build_classifier`, which keep its weights.

    Args:
        classifier: `keras.Model` from raw images to logits.

    Returns:
        Two `keras.Model`s: "backbone", from raw images to features `(batch, features)`, and "head",
        from these to logits `(batch, num_classes)`.
    """
    import keras  # Only here: a config's `--help` does without.

    features = classifier.get_layer("pooling").output
    return (
        keras.Model(classifier.input, features, name="backbone"),
        keras.Model(features, classifier.output, name="head"),
    )


def count_multiply_adds(config, image_shape, num_classes):
    """Count the multiply-adds of the matrix products in one image's forward pass, part by part.

    Args:
        config: From `model_config`.
        image_shape: (height, width, channels) of the raw images.
        num_classes: Number of logits.

    Returns:
        `MultiplyAdds`.
    """
    return _imported(FAMILIES[config.kind].count)(config, image_shape, num_classes)


def _imported(name):
    module, function = name.split(":")
    return getattr(importlib.import_module(module), function)
