"""Append the results of finished runs to a file of rows, one JSON object a run."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from small_vit.errors import InputError, exit_on_input_error
from small_vit.rows import append_rows, row_of
from small_vit.runs import RunDirectory


@dataclass(frozen=True)
class CommandLine:
    """Append finished runs' results to a file of rows; a row already there is not added again.

    Example: python experiments/collect.py runs/cpu --to experiments/results/cpu.jsonl
    """

    directories: tyro.conf.Positional[tuple[Path, ...]]
    """Run directories, or folders of them (a comparison)."""
    to: Path
    """The file of rows; made if absent."""


def main():
    """Run the command line."""
    options = tyro.cli(CommandLine, prog="collect.py")
    with exit_on_input_error():
        added = append_rows(options.to, [row_of(run) for run in finished_runs(options.directories)])
    print(f"{added} rows added to {options.to}")


def finished_runs(directories):
    """Return the directories of the finished runs in `directories`, at any depth.

    Raises:
        InputError: if one of `directories` holds none.
    """
    found = []
    for directory in directories:
        paths = sorted(path.parent for path in directory.glob("**/result.json"))
        paths = [path for path in paths if RunDirectory(path).result() is not None]
        if not paths:
            raise InputError(f"{directory} holds no finished run.")
        found += paths
    return found


if __name__ == "__main__":
    main()
