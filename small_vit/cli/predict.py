"""`small-vit predict RUN_OR_MODEL IMAGE…`"""

import csv
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from small_vit.cli.finished_run import import_keras_for
from small_vit.data.folder.listing import walk
from small_vit.errors import InputError, exit_on_input_error
from small_vit.progress_bar import image_bar

BATCH_SIZE = 32
"""Images in a batch."""

ANY_BYTES = "surrogateescape"
"""How file names are written: on Linux they may hold bytes that are not text."""


@dataclass(frozen=True)
class CommandLine:
    """Classify images with a trained model: print the five most probable classes of each.

    An image that cannot be read is reported and skipped; the exit code is then 1.
    """

    model: tyro.conf.Positional[Path]
    """A run directory, or a .keras file (with classes.json next to it to print names)."""
    images: tyro.conf.Positional[tuple[Path, ...]]
    """Image files of any size, and folders of them. They become the model's size as in training."""
    outputs: Literal["logits", "probabilities"] | None = None
    """What the model outputs. Default: read from its last layer."""
    backend: Literal["tensorflow", "jax", "torch"] | None = None
    """Keras backend. Default: KERAS_BACKEND, else the one the run was trained on."""
    csv: Path | None = None
    """Write a table to this file instead of printing: a row for each image with its file, its most
    probable class, the probability of that class, and the probability of every class."""


def main(arguments, prog="small-vit predict"):
    """Run the command line.

    Args:
        arguments: List of strings.
        prog: The command's name.

    Returns:
        Exit code: 0, or 1 if an image could not be read. Other bad input exits with 2.
    """
    options = tyro.cli(CommandLine, args=arguments, prog=prog)
    if hasattr(sys.stdout, "reconfigure"):  # not in a notebook
        sys.stdout.reconfigure(errors=ANY_BYTES)
    unreadable = []

    def report_and_skip(error):
        print(f"error: {error}", file=sys.stderr)
        unreadable.append(error)

    with exit_on_input_error():
        if not options.images:
            raise InputError("Name at least one image file or folder after the model.")
        if options.csv and options.csv.is_dir():
            raise InputError(f"--csv must name a file. Received: the folder {options.csv}.")

        files = [file for path in options.images for file in _files_in(path)]
        import_keras_for(options.model)
        from small_vit.results.image_predictions import predict_files
        from small_vit.results.saved_model import about_model, kind_of_outputs, load_model

        model, names = load_model(options.model)
        kind = options.outputs or kind_of_outputs(model)
        fit = about_model(options.model).get("fit", "crop")
        batch_size = min(BATCH_SIZE, len(files))
        # Results that are printed on the terminal need no progress bar.
        with image_bar(hidden=options.csv is None and sys.stdout.isatty()) as progress:
            paths = progress.track(files, description="")
            predicted = predict_files(model, paths, kind, fit, batch_size, report_and_skip)
            if options.csv:
                _write_table(options.csv, predicted, names)
            else:
                _print_most_probable(predicted, names)
    if options.csv:
        print(f"Written to {options.csv}")
    return 1 if unreadable else 0


def _files_in(path):
    """The files below a folder, in order and without hidden ones; for a file itself."""
    if not path.is_dir():
        return [path]
    _, names, _ = walk(path)
    if not names:
        raise InputError(f"{path} holds no files.")
    return [path / name for name in names]


def _print_most_probable(predicted, names):
    for path, row in predicted:
        print(path)
        for index in row.argsort()[::-1][:5]:
            print(f"  {row[index]:7.2%}  {names[index]}")


def _write_table(path, predicted, names):
    from small_vit.files import written_whole

    mode = {"newline": "", "encoding": "utf-8", "errors": ANY_BYTES}
    with written_whole(path) as partial, partial.open("w", **mode) as file:
        table = csv.writer(file)
        table.writerow(["file", "class", "probability", *names])
        for image, row in predicted:
            best = row.argmax()
            table.writerow([image, names[best], row[best], *row])
