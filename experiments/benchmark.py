"""Measure a train step: ours, the Keras example's and other libraries', and the machine's peaks."""

import itertools
import json
import os
import shutil
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

import tyro
from rich.console import Console
from rich.markdown import Markdown

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow reads it when imported below

from benchmarks.contenders import Backend, Contender, Name, all_contenders
from benchmarks.markdown import speed_markdown
from benchmarks.rows import measure
from benchmarks.workload import Arm, Augmentation, ModelName, Precision, Workload
from small_vit.errors import InputError, exit_on_input_error
from small_vit.files import make_folder, write_text

ROWS = Path(__file__).resolve().parent / "results" / "speed" / "benchmark.jsonl"


@dataclass(frozen=True)
class CommandLine:
    """Time train steps (input, augmentation, forward, backward, update), ours and others'.

    Every contender runs in a process of its own; they train in turns, one at a time, so leave the
    machine alone meanwhile. A process that waits keeps its memory: at large batches compare few at
    a time (--contenders, --backends).

    Rows are added to a file when a workload is done. Contenders that fail are listed with the
    reason. For other libraries: pip install -e '.[peers]'.

    Example: python experiments/benchmark.py --models example paper --batch-sizes 64 256
    """

    models: tuple[ModelName, ...] = ("example",)
    """The Keras example's model, the paper's, that of the recipe cpu, or a tiny one to try this."""
    arms: tuple[Arm, ...] = ("vanilla", "spt+lsa")
    """Without the paper's two parts, with them."""
    batch_sizes: tuple[int, ...] = (64,)
    """Images a step."""
    precisions: tuple[Precision, ...] = ("float32",)
    """Type of the arithmetic."""
    augmentations: tuple[Augmentation, ...] = ("example",)
    """Nothing; the example's flip, rotation and zoom; or all that the recipe `paper` does."""
    backends: tuple[Backend, ...] = ("tensorflow", "jax", "torch")
    """Frameworks; other libraries' models run on torch."""
    contenders: tuple[Name, ...] = ("ours", "keras-example")
    """What is compared: our train step, the Keras example's own formulation, other libraries'
    models, and ours with the head that those have."""
    reference: tuple[Name, Backend] | None = None
    """Contender and backend that ratios are over. Default: keras-example on the row's backend."""
    rounds: int = 5
    """Measurements of each contender."""
    steps: int = 4
    """Train steps in a measurement: enough that it takes a second."""
    python: dict[Backend, Path] = field(default_factory=dict)
    """Interpreter of a backend, as `jax PATH`, where one environment does not hold all of them.
    Default: the one that runs this."""
    to: Path = ROWS
    """File of rows."""


def main(arguments=None):
    """Run the command line.

    Args:
        arguments: List of strings. Default: `sys.argv[1:]`.
    """
    options = tyro.cli(CommandLine, prog="benchmark.py", args=arguments)
    with exit_on_input_error():
        _check(options)
        sessions = _sessions(options)
        make_folder(options.to.parent)
        try:
            _run(options, sessions)
        except KeyboardInterrupt:
            sys.exit(f"\nInterrupted. The workloads that are done are in {options.to}")


def _check(options):
    numbers = {"--rounds": options.rounds, "--steps": options.steps}
    numbers |= {"--batch-sizes": min(options.batch_sizes)}
    for flag, number in numbers.items():
        if number < 1:
            raise InputError(f"{flag} must be at least 1. Received: {number}.")
    for python in options.python.values():
        if not shutil.which(python):
            raise InputError(f"--python names no program: {python}.")


def _sessions(options):
    """List each workload with those contenders that support it, as pairs."""
    contenders = all_contenders(options.backends, options.contenders)
    choices = itertools.product(
        options.models, options.arms, options.batch_sizes, options.precisions, options.augmentations
    )
    workloads = [Workload(*choice, options.steps) for choice in choices]
    pairs = [(each, [c for c in contenders if c.supports(each)]) for each in workloads]
    sessions = [(workload, supported) for workload, supported in pairs if supported]
    if not sessions:
        raise InputError(
            f"--contenders {' '.join(options.contenders)}: none trains this on --backends "
            f"{' '.join(options.backends)}. Other libraries' models are on torch: vit-pytorch's "
            "with --arms spt+lsa, the others' with vanilla."
        )
    reference = options.reference
    if reference and all(Contender(*reference) not in compared for _, compared in sessions):
        raise InputError(f"--reference {' '.join(reference)} is not among those compared.")
    return sessions


def _run(options, sessions):
    # A file has no width, and Rich would wrap names to fit 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 160)
    pythons = {backend: options.python.get(backend, sys.executable) for backend in options.backends}
    reference = Contender(*options.reference) if options.reference else None
    for workload, contenders in sessions:
        rows = measure(workload, contenders, pythons, options.rounds, reference)
        old = options.to.read_text() if options.to.exists() else ""
        write_text(options.to, old + "".join(json.dumps(row) + "\n" for row in rows))
        console.print(Markdown(speed_markdown(rows)))
    console.print(f"Rows added to {options.to}")


if __name__ == "__main__":
    # As Ctrl-C does, SIGTERM ends the workers too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main()
