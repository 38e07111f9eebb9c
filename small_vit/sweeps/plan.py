"""The plan of a sweep: its runs, and where their results go."""

from dataclasses import dataclass
from pathlib import Path

import keras

from small_vit import hosts
from small_vit.config import ExperimentConfig
from small_vit.errors import InputError
from small_vit.files import make_folder, read_json, write_json
from small_vit.models.registry import FAMILIES
from small_vit.recipes import FOR_TRAINED_MODELS, changes_from_recipe
from small_vit.results.rows import config_hash
from small_vit.results.run_directory import RunDirectory, changes_that_prevent_resuming
from small_vit.sweeps.grid import Arm, Run, plan_runs
from small_vit.sweeps.named import SWEEPS
from small_vit.training.start import read_model_config

LONGEST_LABEL = 150
"""Longest part of a file name that lists changes; file systems allow 255 characters in total."""


@dataclass(frozen=True)
class Plan:
    """A sweep of an experiment.

    Attributes:
        name: Name of the sweep.
        base: `ExperimentConfig` that its arms change.
        seeds: Number of seeds.
        arms: List of `Arm`.
        runs: List of `Run`, arms x seeds.
        folder: Folder of the runs, the table and the pictures.
        rows_path: File of rows.
    """

    name: str
    base: ExperimentConfig
    seeds: int
    arms: list[Arm]
    runs: list[Run]
    folder: Path
    rows_path: Path

    @property
    def sweep(self):
        """The sweep itself."""
        return SWEEPS[self.name]


def make_plan(name, base, seeds, folder=None, rows_path=None, results=None):
    """Return the `Plan` of a sweep.

    Args:
        name: Name of the sweep.
        base: `ExperimentConfig` that its arms change.
        seeds: Number of seeds, from the seed of `base` on.
        folder: See `Plan`. Default: runs/compare-RECIPE, or runs/SWEEP-RECIPE, with the changes to
            the recipe appended.
        rows_path: See `Plan`. Default: rows.jsonl in the folder, or a file in `results` named after
            the sweep.
        results: Folder of measured rows, or None.

    Raises:
        InputError: if there is no such sweep, a number is out of range, two arms are the same
            experiment, or the sweep is not for the model of `base`.
    """
    if name not in SWEEPS:
        raise InputError(f"Name a sweep: {', '.join(SWEEPS)}. Received: {name!r}.")
    if seeds < 1:
        raise InputError(f"--seeds must be at least 1. Received: {seeds}.")
    if name == "transfer":
        _check_transfer(base)
    arms = SWEEPS[name].arms(base)
    for arm in arms:
        _refuse_equal_arms(arm, arms)
    label = _label(name, base)
    folder = folder or Path("runs") / (f"compare-{label}" if name == "arms" else label)
    if rows_path is None:
        rows_path = folder / "rows.jsonl" if results is None else Path(results) / f"{label}.jsonl"
    runs = plan_runs(arms, seeds, folder)
    return Plan(name, base, seeds, arms, runs, folder, rows_path)


def _check_transfer(base):
    train = base.train
    if train.init_from is None:
        raise InputError(
            "The sweep transfer starts from a trained model: small-vit transfer --from RUN --to "
            "DATASET, or --to DIR."
        )
    if FAMILIES[base.model.kind].trained:
        raise InputError(
            "The sweep transfer needs a model that can start from random weights. Received: a "
            f"model of the family {base.model.kind}, which always has trained ones. small-vit "
            "train --init-from RUN trains it on other images."
        )
    if base.recipe in FOR_TRAINED_MODELS:
        raise InputError(
            "The recipe of a transfer is the one of its training from scratch. The recipe "
            f"{base.recipe} is for trained models: leave it out, or choose another."
        )
    if train.freeze or train.layer_decay < 1 or train.optimizer != "adamw":
        raise InputError(
            "Each arm of a transfer sets what is frozen and how AdamW's rate falls by layer: leave "
            "out --freeze, --layer-decay and --optimizer. small-vit train --init-from RUN takes "
            "them."
        )


def _refuse_equal_arms(arm, arms):
    for other in arms:
        if other.name != arm.name and not arm.config.replace(arm="").differences(
            other.config.replace(arm="")
        ):
            advice = (
                "Leave out what makes them equal: a comparison needs SPT or LSA on, for instance."
            )
            kind = arm.config.model.kind
            if not FAMILIES[kind].plain:
                advice = (
                    f"The family {kind} has neither SPT nor LSA. small-vit sweep families compares "
                    "it with others."
                )
            raise InputError(
                f"The arms {arm.name} and {other.name} would be the same experiment. {advice}"
            )


def _label(name, base):
    """Name for the sweep's files: sweep, recipe, and the changes to the recipe."""
    parts = [base.recipe] if name == "arms" else [name, base.recipe]
    if base.data.dataset == "folder":
        parts.append(base.data.name)
    source = base.train.init_from and read_model_config(base.train.init_from)
    for change in changes_from_recipe(base, source):
        setting, value = change.split(": ")[0].split(".")[1], change.split(" -> ")[1]
        parts.append(f"{setting}-{value}".replace("/", "_").replace(" ", ""))
    if base.train.seed:
        parts.append(f"from-seed-{base.train.seed}")
    label = "-".join(parts)
    if len(label) > LONGEST_LABEL:
        return f"{label[:LONGEST_LABEL]}-{config_hash(base)}"
    return label


def read_plan(folder):
    """Read which sweep was started in a folder.

    Returns:
        `(name, ExperimentConfig, seeds)`, or None if there is none.

    Raises:
        InputError: if sweep.json is damaged.
    """
    path = Path(folder) / "sweep.json"
    if not path.exists():
        return None
    plan = read_json(path)
    try:
        return plan["sweep"], ExperimentConfig.from_dict(plan["config"]), plan["seeds"]
    except (KeyError, TypeError, AttributeError, InputError) as error:
        raise InputError(f"{path} cannot be read as the plan of a sweep: {error!r}.") from error


def write_plan(plan):
    """Write sweep.json into the plan's folder, on the first host, after `refuse_another`."""
    hosts.from_first(0)  # Wait until all hosts have checked; only then does the first one write.
    if hosts.is_first():
        make_folder(plan.folder)
        about = {"sweep": plan.name, "config": plan.base.to_dict(), "seeds": plan.seeds}
        write_json(plan.folder / "sweep.json", about | {"backend": keras.backend.backend()})


def refuse_another(plan):
    """Check that the plan's folder holds no other sweep. More seeds or epochs are allowed.

    Raises:
        InputError: if it does; the message lists the differences.
    """
    if RunDirectory(plan.folder).started():
        raise InputError(f"{plan.folder} holds a single run. Choose another folder with --out.")
    old = read_plan(plan.folder)
    if old is None:
        return
    name, base, seeds = old
    changed = [f"sweep: {name} -> {plan.name}"] * (name != plan.name)
    changed += changes_that_prevent_resuming(plan.folder, base, plan.base)
    changed += [f"seeds: {seeds} -> {plan.seeds}"] * (seeds > plan.seeds)
    if changed:
        raise InputError(
            f"{plan.folder} holds another sweep. Changed: {'; '.join(changed)}. Use the "
            "old values, or choose another folder with --out."
        )
