"""`small-vit few-shot RUN [DIR]`: how well a trained model's features serve with few images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from small_vit.cli.finished_run import FinishedRunOptions, import_keras_for
from small_vit.errors import InputError, exit_on_input_error

DESCRIPTION = """Measure how well a run's trained model serves with a few images of each class.

The model without its head is frozen. On its features of 1, 5, 10 and 25 training images of each
class, the shots, a linear classifier is fitted by regularised least squares (arXiv 2010.11929,
section 4.1) and measured on the test images, for several draws of the shots.

Typical use:
  {prog} RUN                            the data that the run was trained on
  {prog} RUN photos                     any classes, in photos/CLASS/*
  {prog} RUN photos --compare RUN2      two models on the same shots

Table, curve and the figures of every draw are written to a folder."""


@dataclass(frozen=True)
class CommandLine(FinishedRunOptions):
    """Options of `small-vit few-shot`."""

    images: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[DIR]")] = None
    """Images of any classes: DIR/CLASS/*, or a CSV or JSON-lines file of paths and labels. Default:
    the run's own data."""
    shots: tuple[int, ...] = (1, 5, 10, 25)
    """Numbers of training images of each class."""
    draws: int = 10
    """Draws of the shots, which give mean and interval."""
    seed: int = 0
    """Seed of the draws."""
    compare: tuple[Path, ...] = ()
    """Further run directories, of any model, measured on the same draws."""
    out: Path | None = None
    """Folder to write to. Default: RUN/few-shot-NAME, NAME being that of the data."""
    batch_size: int = 256
    """Images at a time."""
    skip_unreadable: bool = False
    """Leave out files in DIR that cannot be read as images."""
    cache_dir: Path | None = None
    """Folder in which decoded images of DIR are kept. Default: ~/.cache/small_vit/folders."""


def main(arguments, prog="small-vit few-shot"):
    """Run the command line.

    Args:
        arguments: List of strings.
        prog: The command's name.

    Returns:
        Exit code: 0. Bad input exits with 2.
    """
    description = DESCRIPTION.format(prog=prog)
    options = tyro.cli(CommandLine, args=arguments, prog=prog, description=description)
    with exit_on_input_error():
        _check(options)
        import_keras_for(options.run)
        from small_vit.data.folder.listing import refuse_inside_images
        from small_vit.report.few_shot import write_few_shot
        from small_vit.training.few_shot import load_subjects, measure

        data = _data(options)
        paths = (options.run, *options.compare)
        subjects = load_subjects(
            paths, max(options.shots), options.draws, options.seed, data, options.data_dir
        )
        about = subjects[0].about() | {"seed": options.seed}
        out = options.out or options.run / f"few-shot-{about['dataset']}"
        refuse_inside_images(out, subjects[0].data)
        print(_plan(about, options))
        results = [measure(subject, options.shots, options.batch_size) for subject in subjects]
        print(f"\n{write_few_shot(out, about, results)}\n\nWritten to {out}")
    return 0


def _check(options):
    for name in ("draws", "batch_size"):
        if getattr(options, name) < 1:
            flag = f"--{name.replace('_', '-')}"
            raise InputError(f"{flag} must be at least 1. Received: {getattr(options, name)}.")
    if not options.shots or min(options.shots) < 1:
        received = " ".join(map(str, options.shots)) or "none"
        raise InputError(f"--shots takes numbers of at least 1. Received: {received}.")
    if options.seed < 0:
        raise InputError(f"--seed must be at least 0. Received: {options.seed}.")
    if options.images is not None and options.data_dir is not None:
        raise InputError("--data-dir is the folder of the run's own data: leave it out with DIR.")
    if options.images is None and (options.skip_unreadable or options.cache_dir):
        raise InputError("--skip-unreadable and --cache-dir are for the images of DIR. Name DIR.")


def _data(options):
    """The `DataConfig` of DIR; None without."""
    from small_vit.config import DataConfig

    if options.images is None:
        return None
    return DataConfig(
        dataset="folder",
        data_dir=str(options.images),
        validation_split="stratified",
        skip_unreadable=options.skip_unreadable,
        cache_dir=None if options.cache_dir is None else str(options.cache_dir),
    )


def _plan(about, options):
    images = ", ".join(
        f"{about[f'{part}_images']:,} for {part}" for part in ("training", "validation", "test")
    )
    return (
        f"{about['dataset']}: {about['classes']} classes. Images: {images}. Draws: {options.draws}."
    )
