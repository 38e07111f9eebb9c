"""Measure the speed of train steps: ours, the Keras example's and those of other libraries."""

import itertools
import json
import shutil
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

import tyro
from rich.console import Console
from rich.markdown import Markdown

from benchmarks.contenders import Backend, Contender, Name, all_contenders
from benchmarks.markdown import speed_markdown
from benchmarks.workload import Arm, Augmentation, ModelName, Precision, Workload
from small_vit.errors import InputError, exit_on_input_error
from small_vit.files import make_folder, write_text
from small_vit.quiet import import_keras

ROWS = Path(__file__).resolve().parent / "results" / "speed" / "benchmark.jsonl"


@dataclass(frozen=True)
class CommandLine:
    """Time train steps (input, augmentation, forward, backward, update), ours and others'.

    Every contender runs in its own process. They train in turns, one at a time, so run nothing else
    on the machine. A process that waits keeps its memory: with large batches compare only a few at
    a time (--contenders, --backends).

    Rows are added to a file when a workload is done. Contenders that fail are listed with the
    reason. For other libraries: pip install -e '.[peers]'.

    Example: python experiments/benchmark.py --models example paper --batch-sizes 64 256
    """

    models: tuple[ModelName, ...] = ("example",)
    """The model of the Keras example, of the paper, of the recipe cpu, or a tiny one to try it."""
    arms: tuple[Arm, ...] = ("vanilla", "spt+lsa")
    """Without SPT and LSA, or with both."""
    batch_sizes: tuple[int, ...] = (64,)
    """Images per step."""
    precisions: tuple[Precision, ...] = ("float32",)
    """Type of the computation."""
    augmentations: tuple[Augmentation, ...] = ("example",)
    """None; the example's flip, rotation and zoom; or that of the recipe `paper`."""
    backends: tuple[Backend, ...] = ("tensorflow", "jax", "torch")
    """Backends; the models of other libraries run on torch."""
    contenders: tuple[Name, ...] = ("ours", "keras-example")
    """Contenders: our train step, also with models of other families; the Keras example's own code;
    the models of other libraries, and our train step with the head of these models."""
    reference: tuple[Name, Backend] | None = None
    """Contender and backend to compare with. Default: keras-example on the row's backend."""
    rounds: int = 5
    """Measurements of each contender."""
    steps: int = 4
    """Train steps per measurement: enough for a second."""
    python: dict[Backend, Path] = field(default_factory=dict)
    """Python interpreter of a backend, as `jax PATH`, if one environment does not have all of them.
    Default: the current interpreter."""
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
    """List each workload with the contenders that support it, as pairs."""
    contenders = all_contenders(options.backends, options.contenders)
    choices = itertools.product(
        options.models, options.arms, options.batch_sizes, options.precisions, options.augmentations
    )
    workloads = [Workload(*choice, options.steps) for choice in choices]
    pairs = [(each, [c for c in contenders if c.supports(each)]) for each in workloads]
    sessions = [(workload, supported) for workload, supported in pairs if supported]
    if not sessions:
        raise InputError(
            f"--contenders {' '.join(options.contenders)}: none supports this on --backends "
            f"{' '.join(options.backends)}. Other libraries are on torch: vit-pytorch with "
            "--arms spt+lsa, the others with vanilla."
        )
    reference = options.reference
    if reference and all(Contender(*reference) not in compared for _, compared in sessions):
        raise InputError(f"--reference {' '.join(reference)} is not among the contenders.")
    return sessions


def _run(options, sessions):
    import_keras()
    from benchmarks.rows import measure

    # In a file, Rich would wrap names to fit 80 columns.
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
    # SIGTERM ends the workers too, like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main()
