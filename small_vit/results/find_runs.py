"""Finds run directories in folders."""

from pathlib import Path

from small_vit.errors import InputError
from small_vit.results.run_directory import RunDirectory

STATES = {
    "config.json": "run",
    "metrics.jsonl": "run that has finished an epoch",
    "result.json": "finished run",
}
"""What a run is called that has written a file."""


def find_runs(folder, file="config.json"):
    """Return the runs in a folder, at any depth: those that have written a file.

    Args:
        folder: The folder; it may be a run directory itself.
        file: One of `STATES`. Default: any run, finished or not.

    Returns:
        List of `RunDirectory`, sorted by path; empty if there are none.
    """
    runs = [RunDirectory(path.parent) for path in sorted(Path(folder).glob(f"**/{file}"))]
    if file != "result.json":
        return runs
    # While a run is extended to more epochs, its result.json is of the shorter run.
    return [run for run in runs if run.result() is not None]


def runs_in(folders, file="config.json"):
    """Return the runs in several folders, each as in `find_runs`.

    Raises:
        InputError: if one of the folders holds none.
    """
    found = []
    for folder in folders:
        runs = find_runs(folder, file)
        if not runs:
            raise InputError(f"{folder} holds no {STATES[file]}.")
        found += runs
    return found
