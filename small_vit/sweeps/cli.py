"""The command lines of `experiments/ablation.py` and `experiments/compare.py`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import keras
import tyro

from small_vit import datasets
from small_vit.callbacks import clock
from small_vit.comparison import comparison_table
from small_vit.config import ExperimentConfig
from small_vit.errors import InputError, exit_on_input_error
from small_vit.files import make_folder, write_text
from small_vit.plots import save
from small_vit.recipes import RECIPES
from small_vit.rows import read_rows, rows_by_backend
from small_vit.runs import RunDirectory
from small_vit.sweeps.grid import Arm, Run, Sweep, plan_runs
from small_vit.sweeps.named import COMPARISON, SWEEPS
from small_vit.sweeps.pictures import plot_learned_temperatures, plot_sweep
from small_vit.sweeps.ray_cluster import run_on_ray
from small_vit.sweeps.runner import run_here, run_sweep, unfinished
from small_vit.sweeps.summary import summarise, sweep_table
from small_vit.sweeps.timing import seconds_per_flop, work

DESCRIPTION = """Run a named sweep: all its arms on the same seeds, each compared with its baseline.

Typical use:
  python experiments/ablation.py --list                     the sweeps and their arms
  python experiments/ablation.py parts --recipe cpu --dry-run        what is left, and how long
  python experiments/ablation.py parts --recipe cpu --data-dir DIR   run it, or go on with it
  python experiments/ablation.py parts --epochs 2           a quick proof, kept apart
  python experiments/ablation.py parts --ray HOST:6379      on a Ray cluster

The same command goes on with a sweep that was stopped: runs that have a row are skipped, one that
was begun goes on from its checkpoint. A run that fails does not stop the others (exit code 1)."""


COMPARE_DESCRIPTION = """Compare vanilla with SPT+LSA on the same seeds. Each run becomes a row in
experiments/results/RECIPE.jsonl, and experiments/tables.py makes the README's tables from these.

Typical use:
  python experiments/compare.py --recipe cpu --seeds 7 --data-dir DIR    run it, or go on with it
  python experiments/compare.py --recipe digits --epochs 2               a quick proof, kept apart

What holds for experiments/ablation.py holds here: runs that have a row are skipped, one that was
begun goes on, one that fails does not stop the others (exit code 1)."""


@dataclass(frozen=True)
class CompareCommandLine:
    """What the command line of a comparison says, and that of a sweep too."""

    dry_run: bool = False
    """Print the runs, which of them are finished, and how long the others will take."""
    recipe: Literal[tuple(RECIPES)] = "keras-example"
    """What the arms change; small_vit/recipes.py describes each."""
    seeds: int = 3
    """Number of seeds of each arm, counted from 0."""
    epochs: int | None = None
    """Train this long instead of the recipe's, for a quick proof with folder and rows of its
    own."""
    precision: Literal["float32", "bfloat16", "float16"] | None = None
    """Type of the arithmetic instead of the recipe's, with folder and rows of its own."""
    data_dir: Path | None = None
    """Folder of the data's published files. Default: Keras's download cache."""
    out: Path | None = None
    """Folder of the runs, the table and the pictures. Default: runs/SWEEP-RECIPE, or
    runs/compare-RECIPE."""
    rows: Path | None = None
    """File of rows. Default: experiments/results/SWEEP-RECIPE.jsonl, or RECIPE.jsonl there."""
    ray: str | None = None
    """Train on the Ray cluster at this address; folder and data must be shared by its nodes."""
    backend: Literal["tensorflow", "jax", "torch"] | None = None
    """Keras backend. Default: KERAS_BACKEND, else Keras's own choice (tensorflow)."""


@dataclass(frozen=True)
class CommandLine(CompareCommandLine):
    """What the command line of a sweep says."""

    sweep: tyro.conf.Positional[str] = ""
    """Name of the sweep; --list describes each."""
    list: bool = False
    """Print the sweeps and their arms, and run nothing."""


@dataclass(frozen=True)
class Plan:
    """A sweep on a recipe, with its runs and where their results go."""

    sweep: Sweep
    base: ExperimentConfig
    arms: list[Arm]
    runs: list[Run]
    folder: Path
    rows_path: Path


def main(results, comparison=False, arguments=None):
    """Run the command line.

    Args:
        results: Folder of the measured rows.
        comparison: Whether it is that of `experiments/compare.py`.
        arguments: List of strings. Default: `sys.argv[1:]`.

    Returns:
        Exit code: 0, 1 if a run failed, 130 if it was interrupted. Bad input exits with 2.
    """
    if comparison:
        options = tyro.cli(
            CompareCommandLine, args=arguments, prog="compare.py", description=COMPARE_DESCRIPTION
        )
        with exit_on_input_error():
            return _plan_and_run(COMPARISON, options.recipe, options, results)
    options = tyro.cli(CommandLine, args=arguments, prog="ablation.py", description=DESCRIPTION)
    with exit_on_input_error():
        if options.list:
            _print_sweeps()
            return 0
        if options.sweep not in SWEEPS:
            raise InputError(f"Name a sweep: {', '.join(SWEEPS)}. Received: {options.sweep!r}.")
        name = f"{options.sweep}-{options.recipe}"
        return _plan_and_run(SWEEPS[options.sweep], name, options, results)


def _plan_and_run(sweep, name, options, results):
    plan = make_plan(sweep, name, options, results)
    left = unfinished(plan.runs, read_rows(plan.rows_path))
    if options.dry_run:
        _print_plan(plan, left, results)
        return 0
    try:
        failed = _run(plan, left, options.ray)
    except KeyboardInterrupt:
        print("\nInterrupted. Go on with the same command.")
        return 130
    for run, error in failed.items():
        print(f"failed: {run}: {error}", file=sys.stderr)
    return 1 if failed else 0


def make_plan(sweep, name, options, results):
    """Return the `Plan` that a command line asks for.

    Args:
        sweep: `Sweep`.
        name: Of the file of rows.
        options: `CompareCommandLine`.
        results: Folder of the measured rows.

    Raises:
        InputError: if a number is out of range.
    """
    if options.seeds < 1:
        raise InputError(f"--seeds must be at least 1. Received: {options.seeds}.")
    base = RECIPES[options.recipe]()
    if options.data_dir is not None:
        base = base.replace(data={"data_dir": str(options.data_dir)})
    if options.epochs is not None:
        base = base.replace(train={"epochs": options.epochs})
        name += f"-{options.epochs}-epochs"
    if options.precision is not None:
        base = base.replace(train={"precision": options.precision})
        name += f"-{options.precision}"
    arms = sweep.arms(base)
    folder = options.out or Path("runs") / (f"compare-{name}" if sweep is COMPARISON else name)
    rows_path = options.rows or Path(results) / f"{name}.jsonl"
    return Plan(sweep, base, arms, plan_runs(arms, options.seeds, folder), folder, rows_path)


def _run(plan, left, address):
    """Run what is left of a plan, then write its table and pictures; return what failed."""
    failed = {}
    if left:
        # Before the first run: what is wrong with the data is wrong for all of them.
        datasets.load(plan.base.data.dataset, plan.base.data.data_dir)
        execute = run_here if address is None else run_on_ray(address)
        failed = run_sweep(left, plan.rows_path, execute)
    rows = rows_by_backend(read_rows(plan.rows_path)).get(keras.backend.backend(), [])
    summaries = summarise(plan.arms, rows)
    table = sweep_table(summaries)
    if plan.sweep is COMPARISON and any(summary.rows for summary in summaries):
        table = comparison_table([row for summary in summaries for row in summary.rows])
    make_folder(plan.folder)
    pictures = {"sweep.png": plot_sweep(plan.sweep, summaries)}
    left_by_runs = []
    if "temperature" in plan.sweep.axes:
        first = plan.runs[: len(plan.arms)]
        pictures["temperatures.png"] = plot_learned_temperatures(first)
        left_by_runs = [f"{run.name}/temperature_history.png" for run in first]
    drawn = {name: figure for name, figure in pictures.items() if figure is not None}
    for name, figure in drawn.items():
        save(figure, plan.folder / name)
    names = [*drawn, *(name for name in left_by_runs if (plan.folder / name).exists())]
    shown = "".join(f"\n![{plan.sweep.question}]({name})\n" for name in names)
    write_text(plan.folder / "sweep.md", f"# {plan.sweep.question}\n\n{table}\n{shown}")
    print(f"\n{table}\n\nRows in {plan.rows_path}, table and pictures in {plan.folder}")
    return failed


def _print_sweeps():
    for name, sweep in SWEEPS.items():
        print(f"{name}: {sweep.question}")
        for axis, choices in sweep.axes.items():
            print(f"    {axis}: {', '.join(choices)}")


def _print_plan(plan, left, results):
    paths = {*Path(results).glob("*.jsonl"), plan.rows_path}
    # A run may have a row in the file of each sweep that it is part of.
    rows = {row.config_hash: row for path in sorted(paths) for row in read_rows(path)}
    of_recipe = [row for row in rows.values() if row.recipe == plan.base.recipe]
    measured = of_recipe or list(rows.values())
    pace = seconds_per_flop(measured)
    width = max(len(run.name) for run in plan.runs)
    for run in plan.runs:
        state = "finished"
        if run in left:
            begun = RunDirectory(run.directory).begun()
            state = f"{'begun' if begun else 'to do':<8}  {clock(_estimate([run], pace))}"
        print(f"{run.name:<{width}}  {state}")
    devices = "; ".join(sorted({row.device for row in measured}))
    other = "" if of_recipe else " of other recipes"
    source = f"judged by {len(measured)} measured runs{other} on {devices}, one run at a time"
    if not measured:
        source = "no run has been measured"
    time = clock(_estimate(left, pace))
    print(f"{len(left)} of {len(plan.runs)} runs left, time {time} ({source})")


def _estimate(runs, pace):
    """Seconds that `runs` take from their beginning; None where that is not known."""
    return None if pace is None else pace * sum(work(run.config) for run in runs)
