"""`small-vit transfer --from RUN --to DATASET|DIR`: is a trained model a better start?"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from small_vit.cli.settings import command_of, from_trained, parse_changes
from small_vit.cli.sweep import RunsOptions, plan_and_run
from small_vit.data.registry import DATASETS
from small_vit.errors import InputError, exit_on_input_error
from small_vit.quiet import import_keras
from small_vit.recipes import RECIPES, cpu
from small_vit.recipes.folders import for_folder, on_folder

DESCRIPTION = """Train a model on new images from scratch, from the weights of a trained model,
and as a new head on its frozen features; print the table with differences, paired by seed.

Typical use:
  {prog} --from RUN --to DIR                      your own images, a folder for each class
  {prog} --from RUN --to fashion_mnist --seeds 5  a dataset by name
  {prog} --from RUN --to DIR --image-size 64      at another resolution
  {prog} --resume runs/transfer-NAME              resume it; the same command does too

All three have the same epochs, batch size and seeds, AdamW, and the model of the trained one.
--learning-rate is that of training from scratch; the others have the rates of the recipes fine-tune
and linear-probe. A run that fails does not stop the others (exit code 1)."""


@dataclass(frozen=True)
class TransferOptions(RunsOptions):
    """Options of `small-vit transfer`."""

    source: Annotated[str | None, tyro.conf.arg(name="from", metavar="RUN")] = None
    """The trained model: the folder of a run, or its model.keras."""
    to: Annotated[str | None, tyro.conf.arg(metavar="DATASET|DIR")] = None
    """The new images: a dataset by name (cifar10, fashion_mnist, digits, …), or your own images as
    for small-vit train. The recipe is then chosen by their number; for a dataset it is cpu."""


def main(arguments, prog="small-vit transfer", results=None):
    """Run the command line; see `small_vit.cli.sweep.main`."""
    with exit_on_input_error():
        called = command_of(prog)
        description = DESCRIPTION.format(prog=called)
        base, chosen = _base(arguments)
        options, config = parse_changes(
            TransferOptions, arguments, called, description, base, chosen
        )
        if options.named is not None:
            raise InputError("--from brings its model: leave out --model.")
        if (config.train.init_from, config.data.name) != (base.train.init_from, base.data.name):
            raise InputError(
                "--from and --to name the trained model and the images: leave out --init-from, "
                "--dataset and, for a DIR, --data-dir."
            )
        if config.train.init_from is None:
            raise InputError(
                "Name a trained model and new images: --from RUN --to DATASET, or --to DIR."
            )
        return plan_and_run("transfer", config, options, results)


def _base(arguments):
    """The experiment that the command line changes, and options that are not at their default."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    # The real parser reports what is wrong with them.
    first.add_argument("--from", nargs="?", dest="source")
    first.add_argument("--to", nargs="?")
    first.add_argument("--recipe", nargs="?")
    first.add_argument("--resume", nargs="?", type=Path)
    known, _ = first.parse_known_args(arguments)
    if known.resume is not None:
        if known.source or known.to:
            raise InputError("--resume knows both: leave out --from and --to.")
        return _resumed(known.resume)
    if known.source is None or known.to is None:
        return RECIPES.get(known.recipe, cpu)(), {}
    base = _on_images(known.to, known.recipe)
    return from_trained(base, known.source), {}


def _on_images(to, recipe):
    if to in DATASETS:
        return RECIPES.get(recipe, cpu)().replace(data={"dataset": to})
    if not Path(to).exists():
        raise InputError(
            f"--to must be one of {', '.join(DATASETS)}, or a folder of images. Received: {to!r}."
        )
    base = RECIPES[recipe]() if recipe in RECIPES else for_folder(to)
    return on_folder(base, to)


def _resumed(folder):
    import_keras()
    from small_vit.sweeps.plan import read_plan

    plan = read_plan(folder)
    if plan is None or plan[0] != "transfer":
        raise InputError(f"{folder} holds no transfer.")
    _, config, seeds = plan
    return config, {"seeds": seeds}
