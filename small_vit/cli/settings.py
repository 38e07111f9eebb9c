"""The settings of an experiment as flags: what the commands that train have in common."""

import argparse
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Literal

import tyro

from small_vit.config import CHECKPOINT_MINUTES, ExperimentConfig
from small_vit.errors import InputError
from small_vit.recipes import RECIPES, keras_example

SECTIONS = ("data", "train", "augment", "model")


@dataclass(frozen=True)
class TrainingOptions:
    """What the commands that train have in common, beside the settings of an experiment."""

    recipe: Literal[tuple(RECIPES)] = "keras-example"
    """Where every setting below starts from; small_vit/recipes.py describes each."""
    out: Path | None = None
    """Folder of what is written. Default: one under runs/."""
    resume: Path | None = None
    """Resume what was stopped in this folder; it ends with the numbers of an uninterrupted run. At
    a constant learning rate it may also be given more --epochs."""
    backend: Literal["tensorflow", "jax", "torch"] | None = None
    """Keras backend. Default: KERAS_BACKEND, else Keras's own choice (tensorflow)."""
    tensorboard: bool = False
    """Write TensorBoard's curves into the folder of each run."""
    checkpoint_minutes: float = CHECKPOINT_MINUTES
    """Save a checkpoint this often within an epoch; after each epoch there is always one."""


def parse(options_class, arguments, prog, description, resumed):
    """Read a command line in two passes: the experiment it starts from, then the changes to that.

    Args:
        options_class: `TrainingOptions` or a subclass.
        arguments: List of strings.
        prog: The command's name.
        description: What `--help` prints first.
        resumed: From the folder of --resume to `(ExperimentConfig, options)`: what was stopped
            there, and a dict of the options that belong to it.

    Returns:
        `(options, ExperimentConfig)`.

    Raises:
        InputError: if a value is out of range, or `--resume` names nothing.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    # What is wrong with them is for the real parser to say.
    first.add_argument("--recipe", nargs="?")
    first.add_argument("--resume", nargs="?", type=Path)
    known, _ = first.parse_known_args(arguments)
    if known.resume is None:
        base, belonging = RECIPES.get(known.recipe, keras_example)(), {}
    else:
        base, belonging = resumed(known.resume)
    with_settings = make_dataclass(
        options_class.__name__,
        [
            (name, type(getattr(base, name)), field(default=getattr(base, name)))
            for name in SECTIONS
        ],
        bases=(options_class,),
        frozen=True,
    )
    options = tyro.cli(
        with_settings,
        args=arguments,
        prog=prog,
        description=description,
        default=with_settings(recipe=base.recipe, **belonging),
        config=(tyro.conf.OmitArgPrefixes,),
    )
    if options.checkpoint_minutes < 0:
        raise InputError(
            f"--checkpoint-minutes must be at least 0. Received: {options.checkpoint_minutes}."
        )
    if options.resume and options.out:
        raise InputError("--resume writes into the folder that it resumes: leave --out out.")
    sections = {name: getattr(options, name) for name in SECTIONS}
    return options, ExperimentConfig(options.recipe, base.arm, **sections)
