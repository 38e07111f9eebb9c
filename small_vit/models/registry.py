"""The model families by kind. The rest of the package uses models only through this module.

A family is a package next to this file. Its config is imported here. The code that builds the model
imports Keras, so it is imported only when it is used.
"""

import importlib
import re
from dataclasses import dataclass
from typing import Any

from small_vit.errors import InputError
from small_vit.models.cct.config import PLAIN as PLAIN_CCT
from small_vit.models.cct.config import CCTConfig
from small_vit.models.pretrained.config import PretrainedConfig
from small_vit.models.resnet.config import ResNetConfig
from small_vit.models.vit.config import PLAIN, ViTConfig
from small_vit.settings import Settings


@dataclass(frozen=True)
class Family:
    """A family of models.

    Attributes:
        config: Class of its settings; `config.kind` is the family's name.
        plain: Changes to the settings that give the arm "vanilla"; none if the family has no part
            of the paper.
        build: "module:function" from `(config, image_shape, num_classes, normalization)` to a
            functional `keras.Model` from raw images to logits. Its layers "normalization" and
            "resize" (if it resizes) come first; "pooling" gives the input of the head.
        count: "module:function" from `(config, image_shape, num_classes)` to the `MultiplyAdds` of
            one image's forward pass: a dataclass of the family's parts, with their `total`.
        trained: Whether `build` loads trained weights.
        check: "module:function" from the config, which raises an `InputError` if the model cannot
            be built. A run calls it before it loads data.
    """

    config: type[Settings]
    plain: dict[str, Any]
    build: str
    count: str
    trained: bool = False
    check: str | None = None


FAMILIES: dict[str, Family] = {
    "vit": Family(
        config=ViTConfig,
        plain=PLAIN,
        build="small_vit.models.vit.build:build",
        count="small_vit.models.vit.multiply_adds:count",
    ),
    "cct": Family(
        config=CCTConfig,
        plain=PLAIN_CCT,
        build="small_vit.models.cct.build:build",
        count="small_vit.models.cct.multiply_adds:count",
    ),
    "resnet": Family(
        config=ResNetConfig,
        plain={},
        build="small_vit.models.resnet.build:build",
        count="small_vit.models.resnet.multiply_adds:count",
    ),
    "pretrained": Family(
        config=PretrainedConfig,
        plain={},
        build="small_vit.models.pretrained.build:build",
        count="small_vit.models.pretrained.multiply_adds:count",
        trained=True,
        check="small_vit.models.pretrained.preset:check",
    ),
}
"""The families by kind."""


def _vit(projection_dim, num_layers, num_heads, **fields):
    """A model of the ViT paper, without the dropout that it is trained with in places."""
    return "vit", PLAIN | {
        "image_size": 224,
        "projection_dim": projection_dim,
        "num_layers": num_layers,
        "num_heads": num_heads,
        "key_dim": projection_dim // num_heads,
        "attention_dropout": 0.0,
        "mlp_ratio": 4.0,
        "mlp_output_activation": False,
        "dropout": 0.0,
        "pooling": "class_token",
        "head_units": (),
        "head_dropout": 0.0,
        "zero_head": True,
        "attention_fans": "axes",
        **fields,
    }


NAMED: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("vit", {}),
    "vit-ti/P": _vit(192, 12, 3),
    "vit-s/P": _vit(384, 12, 6),
    "vit-b/P": _vit(768, 12, 12),
    "vit-l/P": _vit(1024, 24, 16),
    "vit-h/P": _vit(1280, 32, 16),
    "hybrid": _vit(128, 2, 2, image_size=32, conv_layers=2, patch_size=1, mlp_ratio=1.0),
    "cct-2/3x2": (
        "cct",
        {
            "conv_layers": 2,
            "projection_dim": 128,
            "num_layers": 2,
            "num_heads": 2,
            "mlp_ratio": 1.0,
        },
    ),
    "cct-7/3x1": ("cct", {}),
    "resnet20": ("resnet", {"depth": 20}),
    "resnet56": ("resnet", {"depth": 56}),
    "resnet110": ("resnet", {"depth": 110}),
    "resnet18": ("resnet", {"depth": 18}),
    "pretrained": ("pretrained", {}),
}
"""The models by their published names: kind and fields. P stands for any patch size in pixels.

Sources: ViT-B, L and H, Dosovitskiy et al., arXiv 2010.11929, table 1; ViT-Ti and S, Touvron et
al., arXiv 2012.12877, table 1; CCT, Hassani et al., arXiv 2104.05704; ResNet, He et al., arXiv
1512.03385. "hybrid" is the hybrid of the ViT paper, section 3.1, with the convolutions and the size
of CCT-2/3x2.
"""


OF_ANY_SIZE = tuple(name for name in NAMED if not name.startswith(("vit", "pretrained")))
"""Models by name that begin with convolutions, or are made of them: for images of any size."""


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


def named_model(name, image_size=None):
    """Return the config of a model of `NAMED`.

    Args:
        name: Its name, in upper or lower case; with a number in place of P: "ViT-B/16".
        image_size: Size of the images, for the models of `OF_ANY_SIZE`. Default: 32. The others
            have a size of their own and ignore it.

    Raises:
        InputError: if there is no such model, or its patch is larger than its image.
    """
    if name.lower() in NAMED:
        kind, fields = NAMED[name.lower()]
        if image_size is not None and name.lower() in OF_ANY_SIZE:
            fields = fields | {"image_size": image_size}
        return model_config(kind, **fields)
    match = re.fullmatch(r"(vit-[a-z]+)/([0-9]+)", name.lower())
    if match is None or f"{match[1]}/P" not in NAMED:
        raise InputError(
            f"The model must be one of {', '.join(NAMED)}, with a patch size in pixels for P. "
            f"Received: {name!r}."
        )
    kind, fields = NAMED[f"{match[1]}/P"]
    return model_config(kind, **fields, patch_size=int(match[2]))


def build_classifier(config, image_shape, num_classes, normalization=None):
    """Build the classifier of a model config.

    Args:
        config: From `model_config`.
        image_shape: (height, width, channels) of the raw images.
        num_classes: Number of logits.
        normalization: Layer applied to the raw images. Default: a `keras.layers.Normalization`.
            A model of the kind pretrained has its own.

    Returns:
        A functional `keras.Model` from `(batch, height, width, channels)`, uint8 or float, to
        float32 logits `(batch, num_classes)`.
    """
    build = _imported(FAMILIES[config.kind].build)
    return build(config, image_shape, num_classes, normalization)


def check_model(config):
    """Find out before data are loaded whether a model can be built.

    Raises:
        InputError: if it cannot, for instance because its trained weights are not there.
    """
    check = FAMILIES[config.kind].check
    if check is not None:
        _imported(check)(config)


def backbone_and_head(classifier):
    """Return the two parts of a classifier from `build_classifier`, which keep its weights.

    Args:
        classifier: `keras.Model` from raw images to logits.

    Returns:
        Two `keras.Model`s: "backbone", from raw images to features `(batch, features)`, and "head",
        from these to logits `(batch, num_classes)`.
    """
    import keras  # Here, so that `--help` need not import it.

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
