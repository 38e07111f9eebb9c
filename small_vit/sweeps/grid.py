"""What a sweep is: a grid of changes to a recipe, and its runs."""

import itertools
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from small_vit.config import ExperimentConfig
from small_vit.errors import InputError
from small_vit.settings import Settings

Changes = dict[str, dict[str, Any] | Settings]


@dataclass(frozen=True)
class Sweep:
    """A question, and the grid of settings that answers it.

    The arms are all combinations of the axes' options. The question is about the last axis. Its
    first option is the baseline. Each other option is compared with the baseline at the same
    options of the other axes.

    Attributes:
        question: What the sweep asks.
        axes: Axes by name. An axis is a dict of options by name. An option is a dict of changes to
            the config, as `ExperimentConfig.replace` takes them: for a section its new values, or
            the whole section, such as another model. The changes of a section, or a single value,
            may be a function of the config with the changes of the axes before.
        curve: Whether the options of the first axis are numbers, drawn as the x-axis of curves.
    """

    question: str
    axes: dict[str, dict[str, Changes]]
    curve: bool = False

    def arms(self, base):
        """Return the sweep's arms on `base`, an `ExperimentConfig`, as a list of `Arm`.

        Raises:
            InputError: if it changes a setting that the model of `base` does not have, or to a
                value that is out of range.
        """
        *_, last_axis = self.axes.values()
        baseline = next(iter(last_axis))
        return [
            Arm(
                name="-".join(options),
                baseline="-".join([*options[:-1], baseline]),
                options=options,
                config=self._apply(options, base).replace(arm="-".join(options)),
            )
            for options in itertools.product(*self.axes.values())
        ]

    def _apply(self, options, config):
        for axis, option in zip(self.axes.values(), options, strict=True):
            for section, changes in axis[option].items():
                changes = changes(config) if callable(changes) else changes
                if isinstance(changes, dict):
                    if section == "model":
                        _refuse_absent(changes, config.model)
                    changes = {
                        name: value(config) if callable(value) else value
                        for name, value in changes.items()
                    }
                config = config.replace(**{section: changes})
        return config


def _refuse_absent(changes, model):
    absent = set(changes) - {field.name for field in fields(model)}
    if absent:
        raise InputError(
            f"The sweep changes {', '.join(sorted(absent))}, which the family {model.kind} does "
            "not have. Choose another sweep or model."
        )


@dataclass(frozen=True)
class Arm:
    """One point of a sweep's grid.

    Attributes:
        name: The names of its options, joined; also used as a folder name.
        baseline: Name of the arm it is compared with; its own if it is a baseline.
        options: Names of its options, one per axis.
        config: Its `ExperimentConfig`, with the first seed.
    """

    name: str
    baseline: str
    options: tuple[str, ...]
    config: ExperimentConfig


@dataclass(frozen=True)
class Run:
    """An arm with one seed.

    Attributes:
        name: Arm and seed.
        config: Its `ExperimentConfig`.
        directory: Folder of its files.
    """

    name: str
    config: ExperimentConfig
    directory: Path


def plan_runs(arms, seeds, folder):
    """Return the runs of `arms`, seed by seed, so that a sweep that is stopped still has pairs.

    Args:
        arms: List of `Arm`.
        seeds: Number of seeds; they count up from the config's own.
        folder: Folder of the runs' directories.

    Returns:
        List of `Run`.
    """
    runs = []
    for offset in range(seeds):
        for arm in arms:
            seed = arm.config.train.seed + offset
            name = f"{arm.name}-seed{seed}"
            runs.append(Run(name, arm.config.replace(train={"seed": seed}), Path(folder) / name))
    return runs
