"""Presets of keras-hub: what they say of their Vision Transformer, and its weights."""

import functools
import json
import random
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from small_vit.errors import InputError
from small_vit.models.vit.config import PLAIN, ViTConfig
from small_vit.quiet import only_errors

HUGGING_FACE = "hf://"
"""What the name of a model on Hugging Face begins with."""


@dataclass(frozen=True)
class Preset:
    """What a preset says of its model.

    Attributes:
        config: The same model as a `ViTConfig`, with a head that starts at zero.
        mean: What is subtracted from raw pixels, 0 to 255, of each of the three channels.
        deviation: What they are then divided by.
        class_names: Names of the classes of its own head; empty if they have none.
    """

    config: ViTConfig
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    class_names: tuple[str, ...]


@functools.cache
def read_preset(name):
    """Return the `Preset` of a name, without its weights.

    Args:
        name: As `PretrainedConfig.preset`.

    Raises:
        InputError: if it cannot be loaded, or is no Vision Transformer that `ViTConfig` describes.
    """
    with keras_hub_loading(name) as keras_hub:
        if name.startswith(HUGGING_FACE):
            # keras-hub would not say why it cannot be reached.
            _json_of_checkpoint(name, "config.json")
        converter = keras_hub.layers.ImageConverter.from_preset(name)
        backbone = keras_hub.models.ViTBackbone.from_preset(name, load_weights=False)
        if converter is None:
            # Of a checkpoint of transformers keras-hub reads sizes and weights only.
            checkpoint = _json_of_checkpoint(name, "config.json")
            processor = _json_of_checkpoint(name, "preprocessor_config.json")
            epsilon = checkpoint["layer_norm_eps"]
            mean, deviation = _statistics_of_processor(processor)
            names = checkpoint.get("id2label", {})
        else:
            checkpoint, names, epsilon = {}, {}, backbone.layer_norm_epsilon
            mean, deviation = _statistics_of_converter(converter)
    parts = ("use_class_token", "use_patch_bias", "use_mha_bias", "use_mlp_bias")
    missing = [part for part in parts if not getattr(backbone, part)]
    if missing or checkpoint.get("hidden_act", "gelu") != "gelu":
        raise InputError(
            f"The preset {name!r} is a Vision Transformer of another kind: this package has those "
            "with a class token, a bias in every layer and GELU."
        )
    return Preset(
        _vit_config(backbone, epsilon),
        tuple(mean),
        tuple(deviation),
        tuple(names[key] for key in sorted(names, key=int)),
    )


def check(config):
    """Read the preset of a `PretrainedConfig`; the `check` of its family in the registry."""
    read_preset(config.preset)


def _vit_config(backbone, epsilon):
    return ViTConfig(
        image_size=backbone.image_shape[:2],
        patch_size=backbone.patch_size,
        projection_dim=backbone.hidden_dim,
        num_layers=backbone.num_layers,
        num_heads=backbone.num_heads,
        key_dim=backbone.hidden_dim // backbone.num_heads,
        attention_dropout=backbone.attention_dropout,
        mlp_ratio=backbone.mlp_dim / backbone.hidden_dim,
        mlp_output_activation=False,
        dropout=backbone.dropout_rate,
        norm_epsilon=epsilon,
        pooling="class_token",
        head_units=(),
        zero_head=True,
        head_dropout=0.0,
        attention_fans="axes",
        **PLAIN,
    )


def _statistics_of_converter(converter):
    """Mean and deviation of raw pixels; keras-hub makes pixels * scale + offset."""
    scale = np.broadcast_to(1.0 if converter.scale is None else converter.scale, 3)
    offset = np.broadcast_to(0.0 if converter.offset is None else converter.offset, 3)
    return (-offset / scale).tolist(), (1 / scale).tolist()


def _statistics_of_processor(processor):
    """Mean and deviation of raw pixels; transformers rescales them before it normalises."""
    rescale = processor.get("rescale_factor", 1 / 255) if processor.get("do_rescale", True) else 1.0
    if not processor.get("do_normalize", True):
        return [0.0] * 3, [1 / rescale] * 3
    mean, deviation = processor["image_mean"], processor["image_std"]
    return [each / rescale for each in mean], [each / rescale for each in deviation]


def _json_of_checkpoint(name, file):
    if name.startswith(HUGGING_FACE):
        import huggingface_hub
        from huggingface_hub.utils import logging

        verbosity = logging.get_verbosity()
        logging.set_verbosity_error()  # It warns of each attempt of several.
        try:
            path = huggingface_hub.hf_hub_download(name.removeprefix(HUGGING_FACE), file)
        finally:
            logging.set_verbosity(verbosity)
    else:
        path = Path(name) / file
    return json.loads(Path(path).read_text(encoding="utf-8"))


@contextmanager
def keras_hub_loading(name):
    """Give keras-hub to a block that loads a preset, and turn what goes wrong there into one error.

    Args:
        name: Of the preset.

    Raises:
        InputError: if keras-hub is not installed, or the block raises.
    """
    try:
        with only_errors():  # It imports TensorFlow on any backend, where that is installed.
            import keras_hub
    except ImportError as error:
        raise InputError(
            f"Models of the kind pretrained need keras-hub ({error}). Install it: pip install -e "
            "'.[pretrained]'."
        ) from error
    # Keras draws the seeds of layers from it; what a run draws shall not depend on what was loaded.
    state = random.getstate()
    try:
        yield keras_hub
    except Exception as error:  # Each of the hubs and file formats has its own.
        reason = _first_sentences(error)
        raise InputError(
            f"The preset {name!r} cannot be loaded. Name a preset of keras-hub "
            "(vit_base_patch16_224_imagenet, …), a model on Hugging Face "
            "(hf://google/vit-base-patch16-224) or the folder of one. What was not downloaded "
            f"before needs the network. The reason was {type(error).__name__}: {reason}."
        ) from error
    finally:
        random.setstate(state)


def _first_sentences(error):
    """The first line of an error without its last full stop, and without what introduces a list."""
    line = str(error).strip().partition("\n")[0]
    return re.sub(r"((?<=\.) [^.]*)?:$", "", line).removesuffix(".")
