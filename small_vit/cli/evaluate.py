"""`small-vit evaluate RUN [DIR]`: measure a trained model on the test set, or on new images."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from small_vit.cli.finished_run import FinishedRunOptions, import_keras_for
from small_vit.errors import InputError, exit_on_input_error


@dataclass(frozen=True)
class CommandLine(FinishedRunOptions):
    """Measure a run's trained model on the test set of its data, or on new labelled images.

    A run does the first at its end: its result.json holds the same numbers. With DIR, a report
    about the new images is written, with the mistakes in pictures. An image there that cannot be
    read is reported and skipped; the exit code is then 1.
    """

    images: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[DIR]")] = None
    """New images: DIR/CLASS/*, or a CSV or JSON-lines file of paths and labels."""
    out: Path | None = None
    """Folder of the report about new images. Default: RUN/evaluations/NAME, NAME being DIR's."""
    batch_size: int = 256
    """Images at a time."""


def main(arguments, prog="small-vit evaluate"):
    """Run the command line.

    Args:
        arguments: List of strings.
        prog: The command's name.

    Returns:
        Exit code: 0, or 1 if a new image could not be read. Other bad input exits with 2.
    """
    options = tyro.cli(CommandLine, args=arguments, prog=prog)
    with exit_on_input_error():
        if options.batch_size < 1:
            raise InputError(f"--batch-size must be at least 1. Received: {options.batch_size}.")
        import_keras_for(options.run)
        if options.images is None:
            return _on_test_set(options)
        if options.data_dir is not None:
            raise InputError("--data-dir is the folder of the run's own test set: leave it out.")
        return _on_new_images(options)


def _on_test_set(options):
    from small_vit.report.metrics_table import metrics_table
    from small_vit.report.rewrite import evaluate_run

    evaluated = evaluate_run(options.run, options.data_dir, options.batch_size)
    config, classes = evaluated.config, evaluated.dataset.num_classes
    print(
        f"{config.arm} on the test set of {config.data.name}, {len(evaluated.logits):,} images\n\n"
        f"{metrics_table({'test': evaluated.metrics}, {'test': evaluated.intervals}, classes)}"
    )
    return 0


def _on_new_images(options):
    from small_vit.report.new_images import evaluate_new_images

    unreadable = []

    def report_and_skip(error):
        print(f"error: {error}", file=sys.stderr)
        unreadable.append(error)

    out = options.out
    if out is None:
        of_model = options.run if options.run.is_dir() else options.run.parent
        out = of_model / "evaluations" / options.images.resolve().name
    metrics = evaluate_new_images(
        options.run, options.images, out, options.batch_size, report_and_skip
    )
    print(f"{metrics}\n\nWritten to {out}; its report is {out / 'report.html'}")
    return 1 if unreadable else 0
