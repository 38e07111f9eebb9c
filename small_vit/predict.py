"""Use a trained model: `python -m small_vit.predict RUN_OR_MODEL IMAGE…`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import keras
import numpy as np
import tyro
from scipy.special import softmax

import small_vit  # noqa: F401 - registers the layers
from small_vit.errors import InputError, exit_on_input_error
from small_vit.files import read_json
from small_vit.images import read_image
from small_vit.runs import RunDirectory


@dataclass(frozen=True)
class CommandLine:
    """Print the five most probable classes of images, by a run's trained model."""

    model: tyro.conf.Positional[Path]
    """A run directory, or a .keras file (with classes.json beside it to print names)."""
    images: tyro.conf.Positional[tuple[Path, ...]]
    """Image files of any size; they are cropped to the model's shape and resized."""


def load_model(path):
    """Load a trained model and its class names.

    Args:
        path: Run directory or `.keras` file.

    Returns:
        `(keras.Model, list of str)`. Without a classes.json beside the model, names are
        "class 0", "class 1", …

    Raises:
        InputError: if there is no model, if it does not classify images of one size, or if its
            classes.json names another number of classes.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"There is no {path}. Name the folder of a run, or a .keras file.")
    file = path / "model.keras" if path.is_dir() else path
    if not file.exists():
        _refuse_folder_without_model(path)
    try:
        model = keras.saving.load_model(file, compile=False)
    except (OSError, ValueError, TypeError, KeyError, BadZipFile) as error:
        raise InputError(f"{file} is no saved model that Keras can load: {error}") from error
    classes = _count_classes(model, file)
    names_file = file.with_name("classes.json")
    if not names_file.exists():
        return model, [f"class {index}" for index in range(classes)]
    names = read_json(names_file)
    if not isinstance(names, list) or len(names) != classes:
        received = f"{len(names)} names" if isinstance(names, list) else type(names).__name__
        raise InputError(
            f"{names_file} must be a list of {classes} names, one for each class of {file.name}. "
            f"Received: {received}. Put the model's own there, or move this one away to have "
            "classes numbered."
        )
    return model, names


def _refuse_folder_without_model(folder):
    if RunDirectory(folder).begun():
        raise InputError(
            f"The run in {folder} has not ended, so it has no model yet. Go on with --resume."
        )
    runs = [str(config.parent) for config in sorted(folder.glob("*/config.json"))]
    if runs:
        raise InputError(f"{folder} holds several runs. Name one of them: {', '.join(runs)}.")
    raise InputError(
        f"{folder} holds no model.keras. Name the folder of a run that has ended, or a .keras file."
    )


def _count_classes(model, file):
    # A model that was never called, or is a class of its own, may have no shapes.
    shapes = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    match shapes:
        case (None, int(), int(), 1 | 3), (None, int(classes)):
            return classes
    raise InputError(
        f"{file} must take images, (None, height, width, 1 or 3), and give (None, classes), with "
        f"height, width and classes fixed. Received a model that takes {shapes[0]} and gives "
        f"{shapes[1]}. Name one that run_cifar100.py has trained."
    )


def main():
    """Run the command line."""
    options = tyro.cli(CommandLine, prog="python -m small_vit.predict")
    with exit_on_input_error():
        if not options.images:
            raise InputError("Name at least one image file after the model.")
        model, names = load_model(options.model)
        height, width, channels = model.input_shape[1:]
        images = [read_image(path, (height, width), channels) for path in options.images]
    probabilities = softmax(model.predict(np.stack(images), verbose=0), axis=-1)
    for path, row in zip(options.images, probabilities, strict=True):
        print(path)
        for index in row.argsort()[::-1][:5]:
            print(f"  {row[index]:7.2%}  {names[index]}")


if __name__ == "__main__":
    sys.exit(main())
