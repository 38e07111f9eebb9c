"""Draw loss and accuracy against the epoch, one colour per arm, with a band over the seeds.

Runs that differ only in their seed are drawn together. Runs may be unfinished.

Typical use:
  python figures/curves.py runs/NAME
  python figures/curves.py runs/COMPARISON --out comparison.png
  python figures/curves.py runs/FIRST runs/SECOND runs/THIRD
  python figures/curves.py runs/NAME --published      a run of keras-example and the published log
"""

from pathlib import Path
from typing import Annotated

import tyro

from small_vit.errors import InputError, exit_on_input_error
from small_vit.quiet import import_keras

PUBLISHED_LOG = (
    Path(__file__).resolve().parent.parent
    / "experiments"
    / "results"
    / "published"
    / "keras_example_log.csv"
)
_RUNS = tyro.conf.arg(metavar="RUN [RUN ...]", help_behavior_hint="")


def main(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, _RUNS],
    *,
    published: bool = False,
    out: Path = Path("curves.png"),
) -> None:
    """Draw the picture.

    Args:
        runs: Folders of runs, or of comparisons.
        published: Also draw the published log; only for runs of the recipe keras-example.
        out: The picture; its suffix is the format.
    """
    if not runs:
        raise InputError("Name the folder of at least one run: python figures/curves.py runs/NAME")

    import_keras()
    from small_vit.plots import plot_curves, save
    from small_vit.plots.sources import read_histories
    from small_vit.results.find_runs import runs_in
    from small_vit.results.histories import read_published_log

    log = None
    if published:
        configs = [run.config() for run in runs_in(runs)]
        others = {f"{each.recipe} on {each.data.dataset}" for each in configs}
        others -= {"keras-example on cifar100"}
        if others:
            raise InputError(
                "--published is the log of keras-example on cifar100. There are also runs of "
                f"{', '.join(sorted(others))}."
            )
        log = read_published_log(PUBLISHED_LOG)
    print(save(plot_curves(read_histories(runs), log), out))


if __name__ == "__main__":
    with exit_on_input_error():
        tyro.cli(main, description=__doc__)
