"""`small-vit export RUN`: write a trained model in a format that runs without Keras."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from small_vit.cli.finished_run import FinishedRunOptions, import_keras_for
from small_vit.deploy.formats import FORMATS
from small_vit.errors import exit_on_input_error


@dataclass(frozen=True)
class CommandLine(FinishedRunOptions):
    """Export a run's model: to a server, a phone or a program in another language.

    Writes a folder: the model, which takes raw uint8 images of any batch size and returns the
    probabilities of the classes; classes.json, their names; predict.py, which runs it without
    Keras; and export.json. Keras on TensorFlow writes it, whatever the run was trained on, unless
    --backend or KERAS_BACKEND names another backend.

    Example: small-vit export runs/NAME --format onnx --check
    """

    format: Literal["keras", "saved_model", "onnx", "litert", "openvino"] = "onnx"
    """onnx: ONNX Runtime, and most else. litert: phones and small devices (formerly TensorFlow
    Lite). openvino: Intel processors. saved_model: TensorFlow Serving. keras: Keras."""
    int8: bool = False
    """Quantize to 8 bits: the weights, and in each call the activations, by their ranges in it. It
    is then checked, as by --check."""
    input_size: Literal["model", "any"] = "model"
    """model: it takes images of the model's own size. any: it takes images of any height and width
    and scales them to that size, without keeping their proportions."""
    check: bool = False
    """Run it in a fresh process on all test images; compare its probabilities with the run's model,
    measure accuracy, size, load time and latency, and write them to export.json. The exit code is 1
    if it differs by more than a tolerance."""
    out: Path | None = None
    """The folder; an earlier export there is replaced. Default: RUN/exports/FORMAT."""


def main(arguments, prog="small-vit export"):
    """Run the command line.

    Args:
        arguments: List of strings.
        prog: The command's name.

    Returns:
        Exit code: 0, or 1 if the check has failed. Bad input exits with 2.
    """
    options = tyro.cli(CommandLine, args=arguments, prog=prog)
    with exit_on_input_error():
        _import_keras(options)
        from small_vit.deploy.export import export_run

        folder, about = export_run(
            options.run,
            options.format,
            options.int8,
            options.input_size == "any",
            options.check,
            options.out,
            options.data_dir,
        )
        return _report(folder, about)


def _import_keras(options):
    """Import Keras on the backend that writes the format best, unless another is asked for."""
    if options.format != "keras":
        os.environ.setdefault("KERAS_BACKEND", next(iter(FORMATS[options.format].writers)))
    import_keras_for(options.run)


def _report(folder, about):
    print(f"{about['format']}, {about['precision']}, {about['bytes'] / 1e6:.2f} MB: {folder}")
    print(f"Classify images with: python {folder / 'predict.py'} IMAGE…")
    if "check" not in about:
        return 0
    check = about["check"]
    print(
        f"\nChecked on the {check['images']:,} test images, against the run's model:\n"
        f"  accuracy            {check['accuracy']:.2%}, the run's model "
        f"{check['accuracy_of_run']:.2%}\n"
        f"  same top-1 class    {check['agreement']:.2%}\n"
        f"  largest difference  {check['largest_difference']:.1e} of a probability\n"
        f"  load                {check['load_ms']:.0f} ms to the first prediction\n"
        f"  predict.py          {check['first_prediction_ms']:.0f} ms from its start to its end\n"
        f"  latency             {check['latency_ms']['1']:.2f} ms for one image, "
        f"{check['latency_ms']['32']:.2f} ms for 32"
    )
    if not check["passed"]:
        print(f"error: the check has failed. It asks for {check['tolerance']}.", file=sys.stderr)
        return 1
    print(f"Passed: {check['tolerance']}.")
    return 0
