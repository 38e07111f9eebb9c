"""The settings of an experiment as flags, shared by the commands that train."""

import argparse
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from small_vit.config import CHECKPOINT_MINUTES, ExperimentConfig
from small_vit.data.registry import DATASETS
from small_vit.errors import InputError
from small_vit.models.registry import FAMILIES, named_model
from small_vit.quiet import import_keras
from small_vit.recipes import RECIPES, keras_example
from small_vit.recipes.fine_tune import arm_of_trained, starting_from
from small_vit.recipes.folders import for_folder, on_folder
from small_vit.sizes import as_pair

SECTIONS = ("data", "train", "augment", "model")


@dataclass(frozen=True)
class TrainingOptions:
    """Options of all commands that train, in addition to the settings of an experiment."""

    recipe: Literal[tuple(RECIPES)] = "keras-example"
    """Recipe that gives the defaults of all settings; small_vit/recipes/ describes each."""
    named: Annotated[str | None, tyro.conf.arg(name="model", metavar="NAME")] = None
    """Model by name, which replaces the recipe's and gives the defaults of its settings: vit,
    ViT-B/16, CCT-7/3x1, resnet20, … (docs/models.md)."""
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

    With --init-from the model is the one whose weights are loaded.

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
    first.add_argument("--model", nargs="?")
    first.add_argument("--dataset", nargs="?")
    # Tyro takes either spelling.
    first.add_argument("--init-from", "--init_from", nargs="?")
    first.add_argument("--image-size", "--image_size", nargs="*", default=())
    known, _ = first.parse_known_args(arguments)
    takes_folder = "folder" in {each.name for each in fields(options_class)}
    folder = arguments[0] if takes_folder and arguments and arguments[0][:1] != "-" else None
    resumed_options = {}
    if known.resume is not None:
        if known.model is not None:
            raise InputError("--resume trains the model that was started: leave out --model.")
        base, resumed_options = resumed(known.resume)
    else:
        base = RECIPES.get(known.recipe, for_folder if folder else keras_example)
        base = base(folder) if base is for_folder else base()
        size = _size(known.image_size)
        if known.model is not None:
            if known.init_from is not None:
                raise InputError("--init-from brings its model: leave out --model.")
            named = named_model(known.model, _size_of_images(base, folder, known.dataset))
            base = base.replace(arm=known.model.lower(), model=named)
            size = None  # Of a ViT, the name says the patch size.
        if known.init_from is not None:
            size = None  # Its patch size is that of its weights.
        if folder is not None:
            base = on_folder(base, folder, size)
        if known.init_from is not None:
            base = from_trained(base, known.init_from)
    options, config = parse_changes(
        options_class, arguments, prog, description, base, resumed_options
    )
    if known.init_from is not None and known.resume is None:
        config = config.replace(arm=arm_of_trained(config))
    if takes_folder and options.folder and (folder is None or options.resume):
        raise InputError(
            f"{options.folder} must come first, without --resume: {prog} {options.folder} …"
        )
    return options, config


def from_trained(config, path):
    """Return an experiment changed to start from a trained model, a run or .keras file.

    Raises:
        InputError: if there is none.
    """
    import_keras()
    from small_vit.training.start import read_model_config

    return starting_from(config, path, read_model_config(path))


def parse_changes(options_class, arguments, prog, description, base, chosen=None):
    """Parse a command line whose settings are changes to an experiment.

    Args:
        options_class, arguments, prog, description: As for `parse`.
        base: `ExperimentConfig` that gives the defaults of all settings.
        chosen: Dict of other options' defaults that are not those of their class.

    Returns:
        `(options, ExperimentConfig)`.

    Raises:
        InputError: if a value is out of range.
    """
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
        default=with_settings(recipe=base.recipe, **(chosen or {})),
        config=(tyro.conf.OmitArgPrefixes,),
    )
    if options.checkpoint_minutes < 0:
        raise InputError(
            f"--checkpoint-minutes must be at least 0. Received: {options.checkpoint_minutes}."
        )
    if options.resume and options.out:
        raise InputError("--resume writes into the folder that it resumes: leave out --out.")
    sections = {name: getattr(options, name) for name in SECTIONS}
    arm = "custom" if changed_parts(options.model, base.model) else base.arm
    return options, ExperimentConfig(options.recipe, arm, **sections)


def changed_parts(model, base):
    """Return the names of the fields of SPT and LSA in which a model differs from another."""
    plain = FAMILIES[base.kind].plain
    return [name for name in plain if getattr(model, name) != getattr(base, name)]


def _size(texts):
    """The value of --image-size as (height, width), or None. The real parser refuses others."""
    if len(texts) in (1, 2) and all(text.isdecimal() for text in texts):
        size = int(texts[0]) if len(texts) == 1 else tuple(map(int, texts))
        return as_pair(size, "image_size")
    return None


def _size_of_images(config, folder, dataset):
    """(height, width) of the images: a dataset has its own, for a folder the recipe chooses it."""
    dataset = "folder" if folder is not None else dataset or config.data.dataset
    # The real parser refuses an unknown one.
    return DATASETS[dataset].image_shape[:2] if dataset in DATASETS else config.model.image_size


def command_of(prog):
    """Return how a user calls a program: scripts are run by Python."""
    return f"python {prog}" if prog.endswith(".py") else prog
