"""Load a trained model, and read its outputs as probabilities.

A model's last layer shows whether its outputs are logits or probabilities (`kind_of_outputs`). The
values are not used: they may look like either. If the layer does not show it, pass --outputs.
"""

import hashlib
import json
import zipfile
from pathlib import Path

import keras
import numpy as np
from scipy.special import softmax

from small_vit.errors import InputError
from small_vit.files import read_json
from small_vit.results.run_directory import ABOUT, RunDirectory

CALIBRATION = "calibration"
"""Name of the layer that divides a calibrated model's logits by their temperature."""


def calibrated(classifier, temperature):
    """Return a classifier whose logits are divided by a temperature (temperature scaling).

    Args:
        classifier: Functional `keras.Model` that returns logits.
        temperature: Float above 0.

    Source: Guo et al., arXiv 1706.04599, section 4.2.
    """
    scale = keras.layers.Rescaling(1 / temperature, dtype="float32", name=CALIBRATION)
    return keras.Model(classifier.inputs[0], scale(classifier.outputs[0]), name=classifier.name)


def load_model(path):
    """Load a trained model and its class names.

    Args:
        path: Run directory or `.keras` file.

    Returns:
        `(keras.Model, list of str)`. The names are those of a classes.json next to the model, else
        those in the file itself, else "class 0", "class 1", … A model with one output has two
        classes (`class_probabilities`).

    Raises:
        InputError: if there is no model, if it does not classify images of one size, or if its
            classes.json names another number of classes.
    """
    file = _model_file(path)
    try:
        model = keras.saving.load_model(file, compile=False)
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{file} is no saved model that Keras can load: {error}") from error
    classes = _count_classes(model, file)
    names_file = file.with_name("classes.json")
    if not names_file.exists():
        numbered = [f"class {index}" for index in range(classes)]
        return model, about_model(file).get("class_names", numbered)
    names = read_json(names_file)
    if not isinstance(names, list) or len(names) != classes:
        received = f"{len(names)} names" if isinstance(names, list) else type(names).__name__
        raise InputError(
            f"{names_file} must be a list of {classes} names, one for each class of {file.name}. "
            f"Received: {received}. Replace it with the model's own, or remove it: classes are "
            "then numbered."
        )
    return model, names


def about_model(path):
    """Return what a saved model says about its use (`RunDirectory.save_model`).

    Args:
        path: Run directory or `.keras` file.

    Returns:
        Dict; empty for a model that this package did not save.
    """
    file = _model_file(path)
    if not zipfile.is_zipfile(file):  # .h5, for example
        return {}
    with zipfile.ZipFile(file) as archive:
        return json.loads(archive.read(ABOUT)) if ABOUT in archive.namelist() else {}


def model_fingerprint(path):
    """Return 16 hex digits of the digest of a saved model's file.

    Args:
        path: Run directory or `.keras` file.

    Raises:
        InputError: if there is no model.
    """
    return hashlib.sha256(_model_file(path).read_bytes()).hexdigest()[:16]


def _model_file(path):
    path = Path(path)
    if not path.exists():
        raise InputError(f"There is no {path}. Name the folder of a run, or a .keras file.")
    file = path / "model.keras" if path.is_dir() else path
    if not file.exists():
        _refuse_folder_without_model(path)
    return file


def _refuse_folder_without_model(folder):
    if RunDirectory(folder).started():
        raise InputError(
            f"The run in {folder} has not ended, so it has no model yet. Resume it with --resume."
        )
    runs = [str(config.parent) for config in sorted(folder.glob("*/config.json"))]
    if runs:
        raise InputError(f"{folder} holds several runs. Name one of them: {', '.join(runs)}.")
    raise InputError(
        f"{folder} holds no model.keras. Name the folder of a run that has ended, or a .keras file."
    )


def _count_classes(model, file):
    # A subclassed model, or one that was never called, may have no shapes.
    shapes = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    match shapes:
        case (None, int(), int(), 1 | 3), (None, int(classes)):
            return max(classes, 2)
    raise InputError(
        f"{file} must take images, (None, height, width, 1 or 3), and give (None, classes), with "
        f"height, width and classes fixed. Received a model that takes {shapes[0]} and gives "
        f"{shapes[1]}. Name a model that this package has trained."
    )


def kind_of_outputs(model):
    """Find out from a model's last layer whether its outputs are logits or probabilities.

    They are probabilities after a softmax, whether a layer or an activation, and after the sigmoid
    of a single unit. They are logits after a Dense layer without activation.

    Args:
        model: From `load_model`.

    Returns:
        "logits" or "probabilities".

    Raises:
        InputError: if the last layer is another one, for example several units with a sigmoid:
            these are labels that do not exclude each other, not classes.
    """
    layer = _last_layer(model)
    if layer.name == CALIBRATION:
        return "logits"
    activation = getattr(layer, "activation", None)
    if isinstance(layer, keras.layers.Softmax):
        activation = keras.activations.softmax
    units = model.output_shape[-1]
    if activation is (keras.activations.sigmoid if units == 1 else keras.activations.softmax):
        return "probabilities"
    # A linear Activation layer does not count: its input may be either.
    if isinstance(layer, keras.layers.Dense) and activation is keras.activations.linear:
        return "logits"
    raise InputError(
        f"The model's last layer does not show whether its {units} outputs are logits or "
        f"probabilities of classes. Received: {type(layer).__name__} {layer.name!r}, "
        f"activation={getattr(activation, '__name__', activation)}. Set --outputs."
    )


def _last_layer(model):
    """The layer, or the operation of `keras.ops`, that makes a model's only output."""
    match model:
        case keras.Sequential():
            return _last_layer(model.layers[-1])
        case keras.Function(output_names=[name]):
            return _last_layer({each.name: each for each in model.operations}[name])
    return model


def class_probabilities(outputs, kind):
    """Turn a model's outputs into the probabilities of its classes.

    A single output belongs to the second of two classes, as in Keras's binary cross-entropy.

    Args:
        outputs: `(images, classes)`, or `(images, 1)`.
        kind: "logits" or "probabilities".

    Returns:
        float32 array `(images, classes)`, or `(images, 2)`.

    Raises:
        InputError: if `outputs` do not fit `kind`.
    """
    outputs = np.asarray(outputs, "float32")
    probabilities = outputs
    if outputs.shape[1] == 1:
        first = np.zeros_like(outputs) if kind == "logits" else 1 - outputs
        probabilities = np.hstack([first, outputs])
    if kind == "logits":
        probabilities = softmax(probabilities, axis=1)
    sums = probabilities.sum(axis=1)
    # Half precision rounds each probability by up to 0.4 %.
    if not ((probabilities >= 0).all() and (np.abs(sums - 1) < 1e-2).all()):
        raise InputError(
            f"The model's outputs are not {kind} of classes that exclude each other. Received: "
            f"values from {outputs.min()} to {outputs.max()}, which make probabilities that sum to "
            f"{sums.min()} to {sums.max()}."
        )
    return probabilities
