"""What a sweep is: a grid of changes to a recipe, and the runs it comes to."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from small_vit.config import ExperimentConfig

Changes = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Sweep:
    """A question, put as a grid over the settings of a recipe.

    The arms are all combinations of the axes' options. The last axis is the one asked about: each
    of its options is compared with its first one, the baseline, all other axes alike.

    Attributes:
        question: What the sweep asks.
        axes: By name, an axis; an axis is its options by name; an option is what it changes in the
            config, as `ExperimentConfig.replace` takes it. A section's changes, or a value, may be
            a function of the config as the axes before have left it.
        curve: Whether the first axis' options are numbers, to be drawn as a curve over it.
    """

    question: str
    axes: dict[str, dict[str, Changes]]
    curve: bool = False

    def arms(self, base):
        """Return the sweep's arms on `base`, an `ExperimentConfig`, as a list of `Arm`."""
        *_, asked = self.axes.values()
        baseline = next(iter(asked))
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
                values = {
                    name: value(config) if callable(value) else value
                    for name, value in changes.items()
                }
                config = config.replace(**{section: values})
        return config


@dataclass(frozen=True)
class Arm:
    """One point of a sweep's grid.

    Attributes:
        name: The names of its options; fit for a folder's name.
        baseline: Name of the arm it is compared with; its own if it is a baseline.
        options: Names of its options, one an axis.
        config: What it trains, whatever the seed.
    """

    name: str
    baseline: str
    options: tuple[str, ...]
    config: ExperimentConfig


@dataclass(frozen=True)
class Run:
    """An arm on one seed.

    Attributes:
        name: Arm and seed.
        config: What is trained.
        directory: Where its files go.
    """

    name: str
    config: ExperimentConfig
    directory: Path


def plan_runs(arms, seeds, folder):
    """Return the runs of `arms`, seed by seed, so that a sweep cut short still has pairs.

    Args:
        arms: List of `Arm`.
        seeds: Number of seeds; they count up from the config's own.
        folder: Folder of the runs' directories.

    Returns:
        List of `Run`.
    """
    runs = []
    for step in range(seeds):
        for arm in arms:
            seed = arm.config.train.seed + step
            name = f"{arm.name}-seed{seed}"
            runs.append(Run(name, arm.config.replace(train={"seed": seed}), Path(folder) / name))
    return runs
