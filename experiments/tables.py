"""Render the README's tables from the measured rows."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from small_vit.comparison import comparison_table
from small_vit.errors import InputError, exit_on_input_error
from small_vit.runs import Result, write_text

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "experiments" / "results"


@dataclass(frozen=True)
class CommandLine:
    """Put the tables made from experiments/results/*.jsonl between the README's markers.

    A table stands between `<!-- table: NAME -->` and `<!-- end -->` and is made from NAME.jsonl.
    """

    check: bool = False
    """Change nothing; exit with 1 if the README does not show what the rows give."""
    readme: Path = ROOT / "README.md"
    """The file with the markers."""


def main():
    """Run the command line."""
    options = tyro.cli(CommandLine, prog="tables.py")
    with exit_on_input_error():
        text = options.readme.read_text()
        rendered = render(text)
    if options.check:
        if rendered != text:
            sys.exit(f"{options.readme} is not what the rows give: run experiments/tables.py")
    else:
        write_text(options.readme, rendered)
        print(f"Written to {options.readme}")


def render(text):
    """Return `text` with each table between markers made anew from its rows."""
    parts = text.split("<!-- table: ")
    return parts[0] + "".join(f"<!-- table: {_render_part(part)}" for part in parts[1:])


def _render_part(part):
    name, rest = part.split(" -->", 1)
    _, after = rest.split("<!-- end -->", 1)
    return f"{name} -->\n{comparison_table(read_rows(name))}\n<!-- end -->{after}"


def read_rows(name):
    """Read experiments/results/NAME.jsonl.

    Returns:
        List of `Result`.

    Raises:
        InputError: if there is no such file.
    """
    path = RESULTS / f"{name}.jsonl"
    if not path.exists():
        raise InputError(f"There are no rows in {path}.")
    return [Result(**json.loads(line)) for line in path.read_text().splitlines()]


if __name__ == "__main__":
    main()
