"""How fast a train step is, beside others', and how far from what the machine can do."""

import itertools
import json
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow reads it when imported below

from benchmarks.contenders import Backend, Contender, Name, all_contenders
from benchmarks.sessions import PartsSession, SpeedSession, StartsSession
from benchmarks.tables import parts_table, speed_table, starts_table
from benchmarks.workload import Arm, Augmentation, ModelName, Precision, Workload
from small_vit.errors import InputError, exit_on_input_error
from small_vit.files import make_folder, write_text

RESULTS = Path(__file__).resolve().parent / "results" / "speed"
TABLES = {"benchmark": speed_table, "profile": parts_table, "starts": starts_table}


@dataclass(frozen=True)
class CommandLine:
    """Time train steps (input, augmentation, forward, backward, update), ours and others'.

    Every contender runs in a process of its own; they train in turns, one at a time, so leave the
    machine alone meanwhile. A process that waits keeps its memory: at large batches let few take
    part at a time (--contenders, --backends).

    Rows are appended to a file as they are measured. Contenders whose library is not installed are
    named as absent: pip install -e '.[peers]'.

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
    """Who takes part: ours, the Keras example's own formulation, and other libraries' models."""
    reference: tuple[Name, Backend] | None = None
    """Contender and backend that ratios are over. Default: keras-example on the row's backend."""
    rounds: int = 5
    """Measurements of each contender."""
    steps: int = 4
    """Train steps in a measurement: enough that it takes a second."""
    profile: bool = False
    """Instead of comparing contenders, leave parts of our step out, one at a time."""
    starts: bool = False
    """Instead, time ours from the start of a process to the end of its first step, the first time
    and once compiled programs are there."""
    python: dict[Backend, Path] = field(default_factory=dict)
    """Interpreter of a backend, as `jax PATH`, where one environment does not hold all of them.
    Default: the one that runs this."""
    to: Path | None = None
    """File of rows. Default: benchmark.jsonl, profile.jsonl or starts.jsonl in
    experiments/results/speed."""

    @property
    def subject(self):
        """What is measured, in the name of the file of rows."""
        return "profile" if self.profile else "starts" if self.starts else "benchmark"


def main(arguments=None):
    """Run the command line.

    Args:
        arguments: List of strings. Default: `sys.argv[1:]`.
    """
    options = tyro.cli(CommandLine, prog="benchmark.py", args=arguments)
    with exit_on_input_error():
        _check(options)
        path = options.to or RESULTS / f"{options.subject}.jsonl"
        make_folder(path.parent)
        try:
            _run(options, path)
        except KeyboardInterrupt:
            sys.exit(f"\nInterrupted. What was finished is in {path}")


def _check(options):
    if options.profile and options.starts:
        raise InputError("--profile and --starts are two measurements: leave one of them out.")
    for name in ("rounds", "steps"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} must be at least 1. Received: {getattr(options, name)}.")
    if any(size < 1 for size in options.batch_sizes):
        raise InputError(f"--batch-sizes must be at least 1. Received: {options.batch_sizes}.")
    contenders = all_contenders(options.backends, options.contenders)
    if not contenders:
        raise InputError(
            f"--contenders {' '.join(options.contenders)}: none is on --backends "
            f"{' '.join(options.backends)}. Other libraries' models are on torch."
        )
    if options.reference and Contender(*options.reference) not in contenders:
        raise InputError(
            f"--reference {' '.join(options.reference)} must take part. Received: "
            f"{', '.join(map(str, contenders))}."
        )
    for python in options.python.values():
        if not python.exists():
            raise InputError(f"--python names a file that is not there: {python}.")


def _run(options, path):
    # A file has no width, and Rich would cut names to fit 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 160)
    table = TABLES[options.subject]
    sessions = _sessions(options)
    with _progress(console) as progress:
        task = progress.add_task("", total=sum(session.turns for session in sessions))
        done = 0
        for session in sessions:
            progress.update(task, description=str(session.workload))
            rows = session.measure(lambda: progress.advance(task))
            # A contender that failed has left turns out.
            done += session.turns
            progress.update(task, completed=done)
            old = path.read_text() if path.exists() else ""
            write_text(path, old + "".join(json.dumps(row) + "\n" for row in rows))
            console.print(table(session.workload, rows))
    console.print(f"Rows added to {path}")


def _sessions(options):
    choices = itertools.product(
        options.models,
        options.arms,
        options.batch_sizes,
        options.precisions,
        options.augmentations,
    )
    workloads = [Workload(*choice, options.steps) for choice in choices]
    pythons = {backend: options.python.get(backend, sys.executable) for backend in options.backends}
    if options.profile or options.starts:
        session = PartsSession if options.profile else StartsSession
        return [
            session(workload, backend, pythons, options.rounds)
            for workload in workloads
            for backend in options.backends
        ]
    contenders = all_contenders(options.backends, options.contenders)
    reference = Contender(*options.reference) if options.reference else None
    return [
        SpeedSession(workload, contenders, pythons, options.rounds, reference)
        for workload in workloads
    ]


def _progress(console):
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("measurements, left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


if __name__ == "__main__":
    # As Ctrl-C does, a polite kill ends the workers too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main()
