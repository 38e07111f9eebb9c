"""Append the results of finished runs to a file of rows, or write the histories of any runs."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from small_vit.errors import exit_on_input_error
from small_vit.quiet import import_keras


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
        import_keras()
        from small_vit.results.find_runs import runs_in
        from small_vit.results.histories import history_of, keep_histories
        from small_vit.results.rows import append_rows, row_of

        if options.epochs:
            runs = runs_in(options.directories, "metrics.jsonl")
            keep_histories(options.to, [history_of(run.path) for run in runs])
            print(f"The epochs of {len(runs)} runs are in {options.to}")
        else:
            runs = runs_in(options.directories, "result.json")
            added = append_rows(options.to, [row_of(run.path) for run in runs])
            print(f"{added} rows added to {options.to}")


if __name__ == "__main__":
    main()
