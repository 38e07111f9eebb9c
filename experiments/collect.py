"""Append the results of finished runs to a file of rows, one JSON object a run."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from small_vit.errors import InputError, exit_on_input_error
from small_vit.runs import RunDirectory, make_folder, write_text


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
        rows = [asdict(result) for result in _results(options.directories)]
        old = options.to.read_text().splitlines() if options.to.exists() else []
        known = [json.loads(line) for line in old]
        new = [json.dumps(row) for row in rows if row not in known]
        make_folder(options.to.parent)
        write_text(options.to, "".join(line + "\n" for line in [*old, *new]))
    print(f"{len(new)} rows added to {options.to}")


def _results(directories):
    for directory in directories:
        paths = sorted(path.parent for path in directory.glob("**/result.json"))
        if not paths:
            raise InputError(f"{directory} holds no finished run.")
        yield from (RunDirectory(path).result() for path in paths)


if __name__ == "__main__":
    main()
