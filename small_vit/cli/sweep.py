"""`small-vit sweep`: train all arms of a named ablation on the same seeds."""

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from small_vit.cli.settings import TrainingOptions, command_of, parse
from small_vit.errors import InputError, exit_on_input_error
from small_vit.quiet import import_keras

DESCRIPTION = """Train all arms of a named sweep on the same seeds; each is compared with its
baseline.

Typical use:
  {prog} --list                              the sweeps and their arms
  {prog} parts --recipe cpu --dry-run        list what is left, and estimate the time
  {prog} parts --recipe cpu --data-dir DIR   run it, or resume it
  {prog} parts --epochs 2                    a quick trial, in its own folder
  {prog} parts --ray HOST:6379               on a Ray cluster

The same command resumes a sweep that was stopped: runs that have a row are skipped, one that was
stopped resumes from its checkpoint. A run that fails does not stop the others (exit code 1)."""


@dataclass(frozen=True)
class RunsOptions(TrainingOptions):
    """Options of the commands that train several runs."""

    seeds: int = 3
    """Number of seeds of each arm, counted from --seed."""
    dry_run: bool = False
    """Print the runs, which of them are finished, and how long the others will take."""
    rows: Path | None = None
    """File of rows, one per finished run. Default: rows.jsonl in the folder."""
    ray: str | None = None
    """Train on the Ray cluster at this address; folder and data must be shared by its nodes."""


@dataclass(frozen=True)
class SweepOptions(RunsOptions):
    """Options of `small-vit sweep`."""

    sweep: tyro.conf.Positional[str] = ""
    """Name of the sweep; --list describes each."""
    list: bool = False
    """Print the sweeps and their arms, and run nothing."""


def main(arguments, prog="small-vit sweep", results=None):
    """Run the command line.

    Args:
        arguments: List of strings.
        prog: The command's name.
        results: Folder of measured rows that a sweep adds to. Default: rows stay with the runs.

    Returns:
        Exit code: 0, 1 if a run failed, 130 if it was interrupted. Bad input exits with 2.
    """
    with exit_on_input_error():
        description = DESCRIPTION.format(prog=command_of(prog))
        options, config = parse(SweepOptions, arguments, command_of(prog), description, _resumed)
        if options.list:
            _print_sweeps()
            return 0
        return plan_and_run(options.sweep, config, options, results)


def plan_and_run(name, config, options, results):
    """Plan a sweep, then run it or, with --dry-run, print the plan.

    Args:
        name: Name of the sweep.
        config: `ExperimentConfig` that its arms change.
        options: `RunsOptions`.
        results: As in `main`.

    Returns:
        Exit code.
    """
    import_keras()
    from small_vit.results.rows import read_rows
    from small_vit.sweeps.plan import make_plan, refuse_another
    from small_vit.sweeps.runner import check_initial_weights, run_plan, unfinished
    from small_vit.training.devices import choose_strategy

    folder = options.resume or options.out
    plan = make_plan(name, config, options.seeds, folder, options.rows, results)
    left = unfinished(plan.runs, read_rows(plan.rows_path))
    if options.dry_run:
        refuse_another(plan)
        check_initial_weights(left)
        device = None if options.ray else choose_strategy(config.train.strategy).description
        _print_plan(plan, left, results, device)
        return 0
    per_run = {
        "tensorboard": options.tensorboard,
        "checkpoint_minutes": options.checkpoint_minutes,
    }
    try:
        failed = run_plan(plan, left, options.ray, **per_run)
    except KeyboardInterrupt:
        print("\nInterrupted. Resume with the same command.")
        return 130
    for run, error in failed.items():
        print(f"failed: {run}: {error}", file=sys.stderr)
    return 1 if failed else 0


def _resumed(folder):
    import_keras()
    from small_vit.sweeps.plan import read_plan

    plan = read_plan(folder)
    if plan is None:
        raise InputError(f"{folder} holds no sweep: there is no sweep.json.")
    name, config, seeds = plan
    return config, {"sweep": name, "seeds": seeds}


def _print_sweeps():
    from small_vit.sweeps.named import SWEEPS

    for name, sweep in SWEEPS.items():
        print(f"{name}: {sweep.question}")
        for axis, choices in sweep.axes.items():
            print(f"    {axis}: {', '.join(choices)}")


def _print_plan(plan, left, results, device):
    from small_vit.results.rows import read_rows
    from small_vit.results.run_directory import RunDirectory
    from small_vit.sweeps.timing import comparable, estimate, seconds_per_flop
    from small_vit.training.progress import clock

    paths = {plan.rows_path, *(Path(results).glob("*.jsonl") if results else ())}
    # Several sweeps may share a run: it then has a row in the file of each.
    rows = {(row.config_hash, row.device): row for path in sorted(paths) for row in read_rows(path)}
    measured = comparable([*rows.values()], plan.base.recipe, device)
    pace = seconds_per_flop(measured)
    width = max(len(run.name) for run in plan.runs)
    for run in plan.runs:
        state = "finished"
        if run in left:
            stopped = RunDirectory(run.directory).started()
            state = f"{'stopped' if stopped else 'to do':<8}  {clock(estimate([run], pace))}"
        print(f"{run.name:<{width}}  {state}")
    devices = "; ".join(sorted({row.device for row in measured}))
    other = "" if any(row.recipe == plan.base.recipe for row in measured) else " of other recipes"
    source = f"estimated from {len(measured)} measured runs{other} on {devices}, one run at a time"
    if not measured:
        source = "no run has been measured"
    time = clock(estimate(left, pace))
    print(f"{len(left)} of {len(plan.runs)} runs left, time {time} ({source})")
