"""What a run starts from: the weights of a trained model, and the layers that keep them."""

import math
from dataclasses import dataclass
from pathlib import Path

import keras

from small_vit.config import BACKBONE
from small_vit.errors import InputError
from small_vit.models.initialize import load_initial_weights, refuse_another_model
from small_vit.models.registry import backbone_and_head, model_config
from small_vit.results.run_directory import RunDirectory
from small_vit.results.saved_model import about_model, load_model, model_fingerprint
from small_vit.settings import Settings


@dataclass(frozen=True, eq=False)
class Source:
    """A trained model whose weights are initial weights.

    Attributes:
        name: Name of its run or file.
        model: `keras.Model`.
        config: Its config, of any family.
        class_names: Names of its classes.
        fingerprint: 16 hexadecimal digits of its file's SHA-256.
    """

    name: str
    model: keras.Model
    config: Settings
    class_names: list[str]
    fingerprint: str


def read_source(config):
    """Return the `Source` of an `ExperimentConfig`; None if it starts from random weights.

    Raises:
        InputError: if there is no trained model of this package, or its weights would mean
            something else in the model of `config`.
    """
    train = config.train
    if train.init_from is None:
        return None
    path = Path(train.init_from)
    source_config = read_model_config(path)
    refuse_another_model(config.model, source_config)
    model, class_names = load_model(path)
    fingerprint = model_fingerprint(path)
    return Source(train.init_name, model, source_config, list(class_names), fingerprint)


def read_model_config(path):
    """Return the model config of a trained model.

    Args:
        path: Run directory, or `.keras` file from one.

    Raises:
        InputError: if it is neither, or the file does not say what model it holds.
    """
    path = Path(path)
    if RunDirectory(path).started():
        return RunDirectory(path).config().model
    fields = about_model(path).get("model")
    if fields is None:
        raise InputError(
            f"{path} does not say what model it holds, as the model.keras of a run does. Name the "
            "folder of a run."
        )
    return model_config(**fields)


def initialize(classifier, config, class_names, source):
    """Load initial weights and freeze layers of a classifier, as a `TrainConfig` says.

    Args:
        classifier: `keras.Model` from `build_classifier`, changed in place.
        config: `ExperimentConfig`.
        class_names: Names of the classes of the new images.
        source: `Source`, or None.

    Returns:
        List of lines that say what it starts from and how many parameters are trained; empty if
        all are, from random weights.

    Raises:
        InputError: if the weights do not fit, or `freeze` names other layers than it has.
    """
    lines = []
    if source is not None:
        same_classes = list(class_names) == source.class_names
        initialized = load_initial_weights(
            classifier, config.model, source.model, source.config, same_classes
        )
        lines = _describe(initialized, source.name)
    frozen = freeze(classifier, config.train.freeze)
    if source is not None or frozen:
        trained = parameter_count(classifier.trainable_weights)
        lines.append(f"{trained:,} parameters are trained, {frozen:,} are frozen.")
    return lines


def _describe(initialized, name):
    groups = {
        "Positions interpolated": initialized.resampled,
        "Summed over channels": initialized.summed,
        "New": initialized.new,
        "Not used": initialized.unused,
    }
    return [
        f"Initial weights from {name}: {len(initialized.loaded)} variables as they are.",
        *(f"{name}: {', '.join(paths)}." for name, paths in groups.items() if paths),
    ]


def freeze(classifier, names):
    """Keep layers of a classifier from being trained; a frozen BatchNorm uses its averages.

    Args:
        classifier: `keras.Model` from `build_classifier`, changed in place.
        names: "backbone" for all layers before the head, or names of layers. A name also stands for
            the layers whose names begin with it and an underscore.

    Returns:
        Number of parameters that are no longer trained.

    Raises:
        InputError: if it has no such layer, or nothing would be left to train.
    """
    before = parameter_count(classifier.trainable_weights)
    layers = [layer for layer in classifier.layers if layer.trainable_weights]
    frozen = {
        name: [each for each in layers if f"{each.name}_".startswith(f"{name}_")] for name in names
    }
    if BACKBONE in names:
        frozen[BACKBONE] = backbone_and_head(classifier)[0].layers
    unknown = [name for name in names if not frozen[name]]
    if unknown:
        # The many layers of a ResNet are listed by stage.
        known = dict.fromkeys("_".join(each.name.split("_")[:2]) for each in layers)
        raise InputError(
            f"freeze names layers of the model: {', '.join([BACKBONE, *known])}. "
            f"Received: {', '.join(unknown)}."
        )
    for layers_of_name in frozen.values():
        for layer in layers_of_name:
            layer.trainable = False
    after = parameter_count(classifier.trainable_weights)
    if not after:
        raise InputError(f"freeze must leave layers to train. Received: {', '.join(names)}.")
    return before - after


def parameter_count(variables):
    """Return the number of parameters in variables."""
    return sum(math.prod(variable.shape) for variable in variables)
