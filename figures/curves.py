"""Draw loss and accuracy against the epoch, one colour an arm, with a band over the seeds.

Runs that differ in their seed alone are drawn together, and runs still going as far as they are.

Typical use:
  python figures/curves.py runs/NAME
  python figures/curves.py runs/COMPARISON --out comparison.png
  python figures/curves.py runs/FIRST runs/SECOND runs/THIRD
"""

import os
from pathlib import Path
from typing import Annotated

import tyro

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow reads it when imported below

from small_vit.errors import InputError, exit_on_input_error
from small_vit.plots import plot_curves, save
from small_vit.plots.sources import read_histories

_RUNS = tyro.conf.arg(metavar="RUN [RUN ...]", help_behavior_hint="")


def main(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, _RUNS],
    *,
    out: Path = Path("curves.png"),
) -> None:
    """Draw the picture.

    Args:
        runs: Folders of runs, or of comparisons, which hold those of runs.
        out: The picture; its suffix is the format.
    """
    if not runs:
        raise InputError("Name the folder of at least one run: python figures/curves.py runs/NAME")
    print(save(plot_curves(read_histories(runs)), out))


if __name__ == "__main__":
    with exit_on_input_error():
        tyro.cli(main, description=__doc__)
