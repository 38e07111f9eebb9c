"""The command line of `run_cifar100.py`."""

import argparse
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from small_vit import hosts
from small_vit.callbacks import TrainingDiverged
from small_vit.comparison import compare, comparison_table, read_plan
from small_vit.config import (
    VANILLA,
    AugmentConfig,
    DataConfig,
    ExperimentConfig,
    ModelConfig,
    TrainConfig,
)
from small_vit.errors import InputError, exit_on_input_error
from small_vit.recipes import RECIPES, keras_example
from small_vit.runs import RunDirectory, new_path
from small_vit.training import CHECKPOINT_MINUTES, run_experiment

DESCRIPTION = """Train Vision Transformers from scratch on a small dataset, with and without Shifted
Patch Tokenization (SPT) and Locality Self-Attention (LSA).

Typical use:
  python run_cifar100.py --recipe digits --compare         the whole comparison, in minutes, offline
  python run_cifar100.py --vanilla --data-dir DIR          the Keras example's vanilla ViT
  python run_cifar100.py --data-dir DIR                    its SPT+LSA ViT
  python run_cifar100.py --compare --seeds 5               both, 5 seeds each, with intervals
  python run_cifar100.py --shifts cardinal --temperature head    any part, switched on its own
  python run_cifar100.py --resume runs/NAME                go on where a run was stopped

The defaults shown are those of the recipe (--recipe NAME --help shows another's)."""


@dataclass(frozen=True)
class CommandLine:
    """What the command line says."""

    recipe: Literal[tuple(RECIPES)] = "keras-example"
    """Where every setting below starts from; small_vit/recipes.py describes each."""
    vanilla: bool = False
    """Train the plain ViT: without SPT (no shifts, no patch norm) and without LSA."""
    compare: bool = False
    """Train both arms, vanilla and SPT+LSA, on the same seeds, and print the table."""
    seeds: int | None = None
    """With --compare: number of seeds, counted from --seed. Default: 3, or those begun."""
    out: Path | None = None
    """Folder for the run. Default: a new one under runs/."""
    resume: Path | None = None
    """Go on with the run or comparison in this folder, to the same end. At a constant learning rate
    it may also be given more --epochs, even after it has ended."""
    backend: Literal["tensorflow", "jax", "torch"] | None = None
    """Keras backend. Default: KERAS_BACKEND, else Keras's own choice (tensorflow)."""
    tensorboard: bool = False
    """Write TensorBoard's curves into the run's folder."""
    checkpoint_minutes: float = CHECKPOINT_MINUTES
    """Save a checkpoint this often within an epoch; after each epoch there is always one."""
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)


def main(arguments=None):
    """Run the command line.

    Args:
        arguments: List of strings. Default: `sys.argv[1:]`.

    Returns:
        Exit code: 0, 1 if training diverged, 130 if it was interrupted. Bad input exits with 2.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    with exit_on_input_error():
        options, config = parse(arguments)
        label = "compare" if options.compare else f"seed{config.train.seed}"
        directory = options.resume or options.out or new_path(config, label)
        try:
            if options.compare:
                _run_comparison(options, config, directory)
            else:
                _run_one(options, config, directory)
        except KeyboardInterrupt:
            begun = RunDirectory(directory).begun() or read_plan(directory) is not None
            again = f"python run_cifar100.py --resume {shlex.quote(str(directory))}"
            advice = again if begun else "the same command"
            print(f"\nInterrupted. Go on with: {advice}")
            return 130
        except TrainingDiverged as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


def parse(arguments):
    """Read the command line in two passes: the starting point, then the changes to it.

    Args:
        arguments: List of strings.

    Returns:
        `(CommandLine, ExperimentConfig)`.

    Raises:
        InputError: if a value is out of range, or `--resume` names no run.
    """
    start = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    # What is wrong with them is for the real parser to say.
    start.add_argument("--recipe", nargs="?")
    start.add_argument("--resume", nargs="?", type=Path)
    known, _ = start.parse_known_args(arguments)
    if known.resume is None:
        base, plan = RECIPES.get(known.recipe, keras_example)(), {}
    else:
        base, plan = _begun(known.resume)
    options = tyro.cli(
        CommandLine,
        args=arguments,
        prog="run_cifar100.py",
        description=DESCRIPTION,
        default=CommandLine(
            recipe=base.recipe,
            data=base.data,
            train=base.train,
            augment=base.augment,
            model=base.model,
            **plan,
        ),
        config=(tyro.conf.OmitArgPrefixes,),
    )
    model = options.model.vanilla() if options.vanilla else options.model
    switched = [
        name for name in VANILLA if getattr(options.model, name) != getattr(base.model, name)
    ]
    if options.vanilla and switched:
        raise InputError(
            f"--vanilla switches SPT and LSA off: leave it out, or {' and '.join(switched)}."
        )
    config = ExperimentConfig(options.recipe, model, options.augment, options.data, options.train)
    if options.seeds is not None and not options.compare:
        raise InputError("--seeds is for --compare; a single run takes --seed.")
    if options.seeds is not None and options.seeds < 1:
        raise InputError(f"--seeds must be at least 1. Received: {options.seeds}.")
    if options.checkpoint_minutes < 0:
        raise InputError(
            f"--checkpoint-minutes must be at least 0. Received: {options.checkpoint_minutes}."
        )
    if options.resume and options.out:
        raise InputError("--resume goes on in the run's own folder: leave --out out.")
    if options.vanilla and options.compare:
        raise InputError("--compare trains the vanilla arm too: leave --vanilla out.")
    return options, config


def _begun(directory):
    """The config of the run or comparison in `directory`, and the options that belong to it."""
    plan = read_plan(directory)
    if plan is None:
        return RunDirectory(directory).config(), {}
    config, seeds = plan
    return config, {"compare": True, "seeds": seeds}


def _run_comparison(options, config, directory):
    results = compare(
        config,
        options.seeds or 3,
        directory,
        options.resume is not None,
        tensorboard=options.tensorboard,
        checkpoint_minutes=options.checkpoint_minutes,
    )
    _print_table(results, directory)


def _run_one(options, config, directory):
    result = run_experiment(
        config,
        directory,
        options.resume is not None,
        options.tensorboard,
        options.checkpoint_minutes,
    )
    _print_table([result], directory)


def _print_table(results, directory):
    if hosts.is_first():
        print(f"\n{comparison_table(results)}\n\nWritten to {directory}")
