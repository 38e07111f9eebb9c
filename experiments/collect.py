"""Append the results of finished runs to a file of rows, or write the histories of any runs."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from small_vit.errors import InputError, exit_on_input_error
from small_vit.results.histories import history_of, keep_histories
from small_vit.results.rows import append_rows, row_of
from small_vit.results.run_directory import RunDirectory


@dataclass(frozen=True)
class CommandLine:
    """Append finished runs' results to a file of rows; a row already there is not added again.

    Typical use:
      python experiments/collect.py runs/cpu --to experiments/results/cpu.jsonl
      python experiments/collect.py runs/NAME --epochs \\
          --to experiments/results/epochs/keras-example.jsonl
    """

    directories: tyro.conf.Positional[tuple[Path, ...]]
    """Run directories, or folders of them (a comparison)."""
    to: Path
    """The file; made if absent."""
    epochs: bool = False
    """Write the histories of runs instead, also of unfinished runs. A run that is already in the
    file is replaced."""


def main():
    """Run the command line."""
    options = tyro.cli(CommandLine, prog="collect.py")
    with exit_on_input_error():
        if options.epochs:
            histories = [history_of(run) for run in runs_in(options.directories, "metrics.jsonl")]
            keep_histories(options.to, histories)
            print(f"The epochs of {len(histories)} runs are in {options.to}")
        else:
            runs = runs_in(options.directories, "result.json")
            added = append_rows(options.to, [row_of(run) for run in runs])
            print(f"{added} rows added to {options.to}")


def runs_in(directories, file):
    """Return the runs in `directories`, at any depth, that have written `file`.

    Raises:
        InputError: if one of `directories` holds none.
    """
    found = []
    for directory in directories:
        runs = find_runs(directory, file)
        if not runs:
            state = "finished run" if file == "result.json" else "run that has finished an epoch"
            raise InputError(f"{directory} holds no {state}.")
        found += runs
    return found


def find_runs(directory, file):
    """Return the runs in a folder, at any depth, that have written `file`."""
    runs = sorted(path.parent for path in directory.glob(f"**/{file}"))
    if file != "result.json":
        return runs
    # While a run is extended to more epochs, its result.json is of the shorter run.
    return [run for run in runs if RunDirectory(run).result() is not None]


if __name__ == "__main__":
    main()
