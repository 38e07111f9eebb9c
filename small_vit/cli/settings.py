"""The settings of an experiment as flags, shared by the commands that train."""

import argparse
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Literal

import tyro

from small_vit.config import CHECKPOINT_MINUTES, ExperimentConfig
from small_vit.errors import InputError
from small_vit.models.registry import FAMILIES
from small_vit.recipes import RECIPES, keras_example

SECTIONS = ("data", "train", "augment", "model")


@dataclass(frozen=True)
class TrainingOptions:
    """Options of all commands that train, in addition to the settings of an experiment."""

    recipe: Literal[tuple(RECIPES)] = "keras-example"
    """Recipe that gives the defaults of all settings; small_vit/recipes.py describes each."""
    out: Path | None = None
    """Folder to write to. Default: a new one under runs/."""
    resume: Path | None = None
    """Resume what was stopped in this folder. The result is that of an uninterrupted run. At a
    constant learning rate you may also raise --epochs."""
    backend: Literal["tensorflow", "jax", "torch"] | None = None
    """Keras backend. Default: KERAS_BACKEND, else Keras's own choice (tensorflow)."""
    tensorboard: bool = False
    """Write curves for TensorBoard into the folder of each run."""
    checkpoint_minutes: float = CHECKPOINT_MINUTES
    """Minutes between checkpoints within an epoch; one is always saved after each epoch."""


def parse(options_class, arguments, prog, description, resumed):
    """Parse a command line in two passes: first the recipe or resumed run, then changes to it.

    Args:
        options_class: `TrainingOptions` or a subclass.
        arguments: List of strings.
        prog: The command's name.
        description: What `--help` prints first.
        resumed: Function from the folder of --resume to `(ExperimentConfig, options)`: the
            experiment that was stopped there, and a dict of its other options.

    Returns:
        `(options, ExperimentConfig)`.

    Raises:
        InputError: if a value is out of range, or the folder of `--resume` holds nothing to resume.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    # The real parser, below, reports what is wrong with them.
    first.add_argument("--recipe", nargs="?")
    first.add_argument("--resume", nargs="?", type=Path)
    known, _ = first.parse_known_args(arguments)
    if known.resume is None:
        base, resumed_options = RECIPES.get(known.recipe, keras_example)(), {}
    else:
        base, resumed_options = resumed(known.resume)
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
        default=with_settings(recipe=base.recipe, **resumed_options),
        config=(tyro.conf.OmitArgPrefixes,),
    )
    if options.checkpoint_minutes < 0:
        raise InputError(
            f"--checkpoint-minutes must be at least 0. Received: {options.checkpoint_minutes}."
        )
    if options.resume and options.out:
        raise InputError("--resume writes into the folder that it resumes: leave out --out.")
    sections = {name: getattr(options, name) for name in SECTIONS}
    plain = FAMILIES[base.model.kind].plain
    other = any(getattr(options.model, name) != getattr(base.model, name) for name in plain)
    arm = "custom" if other else base.arm
    return options, ExperimentConfig(options.recipe, arm, **sections)


def command_of(prog):
    """Return how a user calls a program: scripts are run by Python."""
    return f"python {prog}" if prog.endswith(".py") else prog
