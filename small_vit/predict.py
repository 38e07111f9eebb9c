"""Use a trained model: `python -m small_vit.predict RUN_OR_MODEL IMAGE…`.

Whether a model gives logits or probabilities is read off its last layer (`kind_of_outputs`), never
off the values, which may look like either. Where the layer does not tell, --outputs must.
"""

import csv
import itertools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import keras
import numpy as np
import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from scipy.special import softmax

import small_vit  # noqa: F401 - registers the layers
from small_vit.errors import InputError, exit_on_input_error
from small_vit.files import read_json, written_whole
from small_vit.images import read_image
from small_vit.runs import RunDirectory

BATCH_SIZE = 32
"""Images in memory at a time."""

ANY_BYTES = "surrogateescape"
"""How files' names are written: Linux allows bytes in them that are no text."""


@dataclass(frozen=True)
class CommandLine:
    """Print the five most probable classes of images, by a run's trained model.

    An image that cannot be read is named and left out; the exit code is 1 then.
    """

    model: tyro.conf.Positional[Path]
    """A run directory, or a .keras file (with classes.json beside it to print names)."""
    images: tyro.conf.Positional[tuple[Path, ...]]
    """Image files of any size; they are cropped to the model's shape and resized."""
    outputs: Literal["logits", "probabilities"] | None = None
    """What the model gives. Default: what its last layer tells."""
    csv: Path | None = None
    """Print nothing and write this table: a row for each image with its file, its most probable
    class, that one's probability, and the probability of every class."""


def load_model(path):
    """Load a trained model and its class names.

    Args:
        path: Run directory or `.keras` file.

    Returns:
        `(keras.Model, list of str)`. Without a classes.json beside the model, names are
        "class 0", "class 1", … A model of one output has two classes (`class_probabilities`).

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
            return max(classes, 2)
    raise InputError(
        f"{file} must take images, (None, height, width, 1 or 3), and give (None, classes), with "
        f"height, width and classes fixed. Received a model that takes {shapes[0]} and gives "
        f"{shapes[1]}. Name one that run_cifar100.py has trained."
    )


def kind_of_outputs(model):
    """Tell from a model's last layer what its outputs are.

    They are probabilities behind a softmax, whether a layer or an activation, and behind the
    sigmoid of a single unit. They are logits behind a Dense layer without activation.

    Args:
        model: From `load_model`.

    Returns:
        "logits" or "probabilities".

    Raises:
        InputError: if the last layer is another one. Several units with a sigmoid are such a case:
            they are labels that do not exclude each other, not classes.
    """
    layer = _last_layer(model)
    activation = getattr(layer, "activation", None)
    if isinstance(layer, keras.layers.Softmax):
        activation = keras.activations.softmax
    units = model.output_shape[-1]
    if activation is (keras.activations.sigmoid if units == 1 else keras.activations.softmax):
        return "probabilities"
    # An Activation layer that is linear hands on what it gets, which may be either.
    if isinstance(layer, keras.layers.Dense) and activation is keras.activations.linear:
        return "logits"
    raise InputError(
        f"The model's last layer does not tell whether its {units} outputs are logits or "
        f"probabilities of classes. Received: {type(layer).__name__} {layer.name!r}, "
        f"activation={getattr(activation, '__name__', activation)}. Say it with --outputs."
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

    A single output is that of the second of two classes, as in Keras's binary cross-entropy.

    Args:
        outputs: `(images, classes)`, or `(images, 1)`.
        kind: "logits" or "probabilities".

    Returns:
        float32 array `(images, classes)`, or `(images, 2)`.

    Raises:
        InputError: if `outputs` cannot be what `kind` says.
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
            f"The model's outputs are no {kind} of classes that exclude each other. Received: "
            f"values from {outputs.min()} to {outputs.max()}, which make probabilities that sum to "
            f"{sums.min()} to {sums.max()}."
        )
    return probabilities


def predict_files(model, paths, kind, batch_size, on_unreadable):
    """Predict image files, so many at a time that memory stays bounded.

    Args:
        model: From `load_model`.
        paths: Iterable of the files.
        kind: "logits" or "probabilities", what the model gives.
        batch_size: Images at a time.
        on_unreadable: Called with the `InputError` of a file that cannot be read.

    Yields:
        `(path, probabilities)` of each file that can be read, in their order; probabilities are
        a float32 array `(classes,)`.

    Raises:
        InputError: if the model's outputs cannot be what `kind` says.
    """
    images = _read_images(paths, model.input_shape[1:], on_unreadable)
    while batch := list(itertools.islice(images, batch_size)):
        names, pixels = zip(*batch, strict=True)
        # The last batch is filled up by repeating it: one compiled program serves all.
        full = np.resize(np.stack(pixels), (batch_size, *model.input_shape[1:]))
        outputs = model.predict_on_batch(full)[: len(batch)]
        yield from zip(names, class_probabilities(outputs, kind), strict=True)


def _read_images(paths, shape, on_unreadable):
    height, width, channels = shape
    for path in paths:
        try:
            yield path, read_image(path, (height, width), channels)
        except InputError as error:
            on_unreadable(error)


def main():
    """Run the command line.

    Returns:
        Exit code: 0, or 1 if an image could not be read. Other bad input exits with 2.
    """
    options = tyro.cli(CommandLine, prog="python -m small_vit.predict")
    if hasattr(sys.stdout, "reconfigure"):  # not in a notebook
        sys.stdout.reconfigure(errors=ANY_BYTES)
    unreadable = []

    def leave_out(error):
        print(f"error: {error}", file=sys.stderr)
        unreadable.append(error)

    with exit_on_input_error():
        if not options.images:
            raise InputError("Name at least one image file after the model.")
        if options.csv and options.csv.is_dir():
            raise InputError(f"--csv must name a file. Received: the folder {options.csv}.")
        model, names = load_model(options.model)
        kind = options.outputs or kind_of_outputs(model)
        batch_size = min(BATCH_SIZE, len(options.images))
        # Results that are printed on the terminal show by themselves how far it is.
        with _progress(hidden=options.csv is None and sys.stdout.isatty()) as progress:
            paths = progress.track(options.images, description="")
            predicted = predict_files(model, paths, kind, batch_size, leave_out)
            if options.csv:
                _write_table(options.csv, predicted, names)
            else:
                _print_most_probable(predicted, names)
    if options.csv:
        print(f"Written to {options.csv}")
    return 1 if unreadable else 0


def _progress(hidden):
    console = Console(stderr=True, soft_wrap=True)
    return Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images, left"),
        TimeRemainingColumn(),
        console=console,
        disable=hidden or not console.is_terminal,
        transient=True,
        redirect_stdout=False,  # results go where the shell sends them
    )


def _print_most_probable(predicted, names):
    for path, row in predicted:
        print(path)
        for index in row.argsort()[::-1][:5]:
            print(f"  {row[index]:7.2%}  {names[index]}")


def _write_table(path, predicted, names):
    how = {"newline": "", "encoding": "utf-8", "errors": ANY_BYTES}
    with written_whole(path) as partial, partial.open("w", **how) as file:
        table = csv.writer(file)
        table.writerow(["file", "class", "probability", *names])
        for image, row in predicted:
            best = row.argmax()
            table.writerow([image, names[best], row[best], *row])


if __name__ == "__main__":
    sys.exit(main())
