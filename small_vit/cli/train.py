"""`small-vit train`: train one model."""

import math
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from small_vit.cli.settings import TrainingOptions, changed_parts, command_of, parse
from small_vit.errors import InputError, exit_on_input_error
from small_vit.models.registry import FAMILIES
from small_vit.quiet import import_keras
from small_vit.recipes import RECIPES, vanilla

DESCRIPTION = """Train a Vision Transformer from scratch on a small dataset, with or without Shifted
Patch Tokenization (SPT) and Locality Self-Attention (LSA).

Typical use:
  {prog} DIR                              your own images, in a folder for each class
  {prog} DIR --minutes 20 --image-size 96 as many epochs as fit into that time
  {prog} --recipe digits                  a small model on embedded data, in minutes, offline
  {prog} --vanilla --data-dir DIR         the Keras example's plain ViT
  {prog} --data-dir DIR                   the Keras example's SPT+LSA ViT
  {prog} --shifts cardinal --temperature head    change single parts
  {prog} DIR --init-from RUN --recipe fine-tune  start from the weights of a trained model
  {prog} --resume runs/NAME               resume a run that was stopped
{compare}
The defaults shown are those of the recipe. --recipe NAME --help shows those of another."""


@dataclass(frozen=True)
class TrainOptions(TrainingOptions):
    """Options of `small-vit train`."""

    folder: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[DIR]")] = None
    """Your own images: DIR/CLASS/*, DIR/train/CLASS/* with DIR/test/CLASS/*, or a CSV or JSON-lines
    file of paths and labels. The recipe is then chosen by the number of images."""
    minutes: float | None = None
    """Time for the whole run. The number of epochs is chosen so that it fits, by measuring a step
    first."""
    vanilla: bool = False
    """Train the plain model: without SPT (no shifts, no patch norm) and without LSA."""


def main(arguments, prog="small-vit train"):
    """Run the command line.

    Args:
        arguments: List of strings.
        prog: The command's name.

    Returns:
        Exit code: 0, 1 if training diverged, 130 if it was interrupted. Bad input exits with 2.
    """
    with exit_on_input_error():
        options, config = parse_training(arguments, prog)

        import_keras()
        from small_vit import hosts
        from small_vit.report.metrics_table import metrics_table
        from small_vit.results.run_directory import RunDirectory, new_path
        from small_vit.results.tables import comparison_table
        from small_vit.training.callbacks import TrainingDiverged
        from small_vit.training.pace import epochs_within
        from small_vit.training.run import run_experiment

        if options.minutes is not None:
            epochs = epochs_within(config, options.minutes)
            print(f"{epochs} epochs fit into {options.minutes:g} minutes.")
            config = config.replace(train={"epochs": epochs})
        directory = options.resume or options.out or new_path(config, f"seed{config.train.seed}")
        try:
            result = run_experiment(
                config,
                directory,
                options.resume is not None,
                options.tensorboard,
                options.checkpoint_minutes,
            )
        except KeyboardInterrupt:
            resume_command = f"{command_of(prog)} --resume {shlex.quote(str(directory))}"
            advice = resume_command if RunDirectory(directory).started() else "the same command"
            print(f"\nInterrupted. Resume with: {advice}")
            return 130
        except TrainingDiverged as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        if hosts.is_first():
            num_classes = len(RunDirectory(directory).class_names())
            measured = metrics_table(
                {"test": result.metrics}, {"test": result.intervals}, num_classes
            )
            print(f"\n{measured}\n\n{comparison_table([result])}\n")
            print(f"Written to {directory}; its report is {directory / 'report.html'}")
    return 0


def parse_training(arguments, prog="small-vit train"):
    """Return `(TrainOptions, ExperimentConfig)` of a command line.

    Raises:
        InputError: if a value is out of range, or `--resume` names no run.
    """
    called = command_of(prog)
    compare = f"  {called} --compare --seeds 5    both, on the same five seeds\n"
    description = DESCRIPTION.format(prog=called, compare=compare if ".py" in prog else "")
    options, config = parse(TrainOptions, arguments, command_of(prog), description, _resumed)
    if options.minutes is not None and options.resume:
        raise InputError("--resume trains the epochs that were chosen: leave out --minutes.")
    if options.minutes is not None and not 0 < options.minutes < math.inf:
        raise InputError(f"--minutes must be a number above 0. Received: {options.minutes:g}.")
    return options, _vanilla(config, options) if options.vanilla else config


def _vanilla(config, options):
    if config.train.init_from is not None:
        raise InputError("--init-from brings its model: leave out --vanilla.")
    if not FAMILIES[config.model.kind].plain:
        raise InputError(f"--vanilla is for models with SPT or LSA. Received: {config.model.kind}.")
    if options.resume is None:
        given = changed_parts(config.model, RECIPES[config.recipe]().model)
        if given:
            raise InputError(
                "--vanilla switches off SPT and LSA. Leave it out, or leave out "
                f"{' and '.join(given)}."
            )
    return vanilla(config)


def _resumed(directory):
    import_keras()
    from small_vit.results.run_directory import RunDirectory
    from small_vit.sweeps.plan import read_plan

    plan = read_plan(directory)
    if plan is not None:
        held = "transfer" if plan[0] == "transfer" else "sweep"
        raise InputError(
            f"{directory} holds a {held}. Resume it with small-vit {held} --resume {directory}."
        )
    return RunDirectory(directory).config(), {}
