"""Runs a sweep: what is finished is skipped, what was begun goes on, what fails is reported."""

import time
import traceback

import keras
from rich.console import Console

from small_vit.callbacks import TrainingDiverged, clock
from small_vit.errors import InputError
from small_vit.rows import append_rows, as_row, config_hash
from small_vit.runs import RunDirectory
from small_vit.sweeps.timing import work
from small_vit.training import run_experiment


def unfinished(runs, rows):
    """Return those of `runs` that have no row of the Keras backend in use yet.

    Args:
        runs: List of `Run`.
        rows: List of `Result` with their config's hash.

    Raises:
        InputError: if the directory of one of them holds another run.
    """
    known = {row.config_hash for row in rows if row.backend == keras.backend.backend()}
    left = [run for run in runs if config_hash(run.config) not in known]
    for run in left:
        directory = RunDirectory(run.directory)
        if not directory.begun():
            continue
        changed = directory.config().differences(run.config)
        backend = directory.backend()
        if backend != keras.backend.backend():
            changed.append(f"backend: {backend} -> {keras.backend.backend()}")
        if changed:
            raise InputError(
                f"{run.directory} holds another run. Different there: {'; '.join(changed)}. "
                "Choose another folder with --out."
            )
    return left


def run_sweep(runs, rows_path, execute):
    """Execute runs, append the row of each as it ends, and tell how far the sweep is.

    Args:
        runs: List of `Run`.
        rows_path: File of rows.
        execute: Function from the runs to an iterable of `(Run, outcome)` in any order; an outcome
            is a `Result` or the exception that ended the run. `run_here` is one.

    Returns:
        The failed runs: a dict of exceptions by the run's name.

    Raises:
        InputError: if the rows cannot be written.
    """
    console = Console(soft_wrap=True, highlight=False)
    started, done, left = time.perf_counter(), 0, sum(work(run.config) for run in runs)
    failed = {}
    for count, (run, outcome) in enumerate(execute(runs), 1):
        left -= work(run.config)
        if isinstance(outcome, Exception):
            failed[run.name] = outcome
            _explain(outcome)
            outcome.__traceback__ = None  # Its frames hold the run's model and its memory.
            news = "failed"
        else:
            append_rows(rows_path, [as_row(outcome, run.config)])
            done += work(run.config)
            news = f"top-1 {outcome.test_accuracy:.2%} in {clock(outcome.seconds)}"
        seconds = (time.perf_counter() - started) / done * left if done else None
        console.print(
            f"sweep: {count} of {len(runs)} runs ended  {run.name}: {news}  "
            f"sweep's time left {clock(seconds)}",
            style="bold",
        )
    return failed


def run_here(runs):
    """Train runs one after the other in this process; an `execute` of `run_sweep`."""
    for run in runs:
        try:
            outcome = begin_or_go_on(run.config, run.directory)
        except Exception as error:  # whatever a run dies of, the others go on
            outcome = error
        yield run, outcome


def begin_or_go_on(config, directory):
    """Train `config` in `directory`, from its last checkpoint if it was begun there.

    Returns:
        Its `Result`.
    """
    return run_experiment(config, directory, resume=RunDirectory(directory).begun())


def _explain(error):
    """Print what ended a run; how it came about only where its message does not say all."""
    if isinstance(error, InputError | TrainingDiverged):
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"error: {error}", markup=False)
    else:
        traceback.print_exception(error)
