"""Render the tables of the README and of docs/ from the measured rows."""

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from row_files import RESULTS, ROOT
from small_vit.errors import exit_on_input_error
from small_vit.files import write_text
from small_vit.quiet import import_keras


@dataclass(frozen=True)
class CommandLine:
    """Put the tables made from experiments/results/*.jsonl between the documents' markers.

    A table is between `<!-- table: NAME -->` and `<!-- end -->`, and is made from NAME.jsonl. If
    NAME is SWEEP-RECIPE, it is the table of that sweep, which may be not yet run. Other names:
    `published` compares published numbers with ours; `epochs` compares the Keras example's log with
    ours, epoch by epoch; `speed` and `family-speed` are for the benchmark; `bfloat16` compares the
    accuracy of bfloat16 and float32; `folders` shows the runs on folders of images, `sam`, `fit`
    and `transfer` those of these sweeps; `layer-decay` compares layer decays by validation;
    `families` shows the sweep of that name on each recipe that it is run on; `export` is for
    exported models.
    """

    check: bool = False
    """Change nothing; exit with 1 if a table in a document does not match the rows."""
    documents: tuple[Path, ...] = (
        ROOT / "README.md",
        ROOT / "docs" / "data.md",
        ROOT / "docs" / "export.md",
        ROOT / "docs" / "models.md",
        ROOT / "docs" / "results.md",
        ROOT / "docs" / "speed.md",
        ROOT / "docs" / "transfer.md",
    )
    """The files with the markers."""


def main():
    """Run the command line."""
    options = tyro.cli(CommandLine, prog="tables.py")
    with exit_on_input_error():
        import_keras()
        from document_tables import render

        texts = {path: path.read_text() for path in options.documents}
        stale = {path: new for path, old in texts.items() if (new := render(old, RESULTS)) != old}
    if options.check and stale:
        names = ", ".join(map(str, stale))
        sys.exit(f"{names}: tables do not match the rows. Run experiments/tables.py")
    for path, new in stale.items():
        write_text(path, new)
        print(f"Written to {path}")
    if not stale:
        print("All tables match the rows.")


if __name__ == "__main__":
    main()
