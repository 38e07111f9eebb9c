"""`small-vit compare`: the smallest sweep, the plain model against SPT+LSA."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from small_vit.cli.settings import command_of, parse
from small_vit.cli.sweep import RunsOptions, plan_and_run
from small_vit.errors import InputError, exit_on_input_error
from small_vit.quiet import import_keras

DESCRIPTION = """Train the plain ViT and SPT+LSA on the same seeds, and print the table with their
difference, paired by seed.

Typical use:
  {prog} --recipe digits                         minutes on a CPU, offline
  {prog} DIR                                     on your own images, a folder for each class
  {prog} --recipe cpu --seeds 5 --data-dir DIR   run it, or resume it
  {prog} --resume runs/compare-cpu               the same

As with small-vit sweep, runs that have a row are skipped, and a run that was stopped resumes from
its checkpoint. A run that fails does not stop the others (exit code 1)."""


@dataclass(frozen=True)
class CompareOptions(RunsOptions):
    """Options of `small-vit compare`."""

    folder: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[DIR]")] = None
    """Your own images, as for small-vit train."""


def main(arguments, prog="small-vit compare", results=None):
    """Run the command line; see `small_vit.cli.sweep.main`."""
    with exit_on_input_error():
        if "--vanilla" in arguments:
            raise InputError("A comparison trains the plain model too: leave out --vanilla.")
        called = command_of(prog) + " --compare" * (prog == "run_cifar100.py")
        description = DESCRIPTION.format(prog=called)
        options, config = parse(CompareOptions, arguments, called, description, _resumed)
        return plan_and_run("arms", config, options, results)


def _resumed(folder):
    import_keras()
    from small_vit.sweeps.plan import read_plan

    plan = read_plan(folder)
    if plan is None or plan[0] != "arms":
        raise InputError(f"{folder} holds no comparison of the two arms.")
    _, config, seeds = plan
    return config, {"seeds": seeds}
