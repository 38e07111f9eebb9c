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
from small_vit.images import read_image
from small_vit.runs import RunDirectory, read_json


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
        InputError: if there is no model.
    """
    path = Path(path)
    file = path / "model.keras" if path.is_dir() else path
    if not file.exists() and RunDirectory(path).begun():
        raise InputError(
            f"The run in {path} has not ended, so it has no model yet. Go on with --resume."
        )
    try:
        model = keras.saving.load_model(file, compile=False)
    except (OSError, ValueError, TypeError, KeyError, BadZipFile) as error:
        raise InputError(f"{file} is no saved model that Keras can load: {error}") from error
    names = file.with_name("classes.json")
    if names.exists():
        return model, read_json(names)
    return model, [f"class {index}" for index in range(model.output_shape[-1])]


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
