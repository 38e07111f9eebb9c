"""Vanilla ViT against SPT+LSA ViT: the same seeds in both arms, and how sure the difference is."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from small_vit.errors import InputError
from small_vit.plots import plot_curves, save
from small_vit.plots.sources import read_histories
from small_vit.recipes import PUBLISHED
from small_vit.runs import RunDirectory, make_folder, write_json, write_text
from small_vit.training import run_experiment


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % interval from Student's t.

    Attributes:
        mean: The mean.
        half_width: Half the interval; None for one value, which has no interval.
        count: Number of values.
    """

    mean: float
    half_width: float | None
    count: int

    @classmethod
    def of(cls, values):
        """Estimate the mean of `values`, a sequence of floats."""
        values = np.asarray(values, dtype="float64")
        half_width = None
        if len(values) > 1:
            half_width = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
        return cls(float(values.mean()), half_width, len(values))

    def percent(self, sign=False):
        """Return it as "53.10 ± 0.42" (percent)."""
        mean = f"{self.mean * 100:{'+' if sign else ''}.2f}"
        return mean if self.half_width is None else f"{mean} ± {self.half_width * 100:.2f}"


def compare(config, seeds, directory, resume=False, tensorboard=False):
    """Train both arms on the same seeds and write comparison.md with their curves.

    Args:
        config: `ExperimentConfig` of the SPT+LSA arm; the vanilla arm is the same without SPT and
            LSA. Seeds run from `config.train.seed` upwards.
        seeds: Number of seeds.
        directory: Where the runs' directories go.
        resume: Whether to go on with the comparison begun there: runs that have ended are kept.
        tensorboard: As in `run_experiment`.

    Returns:
        List of `Result`, both arms.

    Raises:
        InputError: as `run_experiment`, or if `directory` holds another comparison.
    """
    directory = Path(directory)
    plan = {"config": config.to_dict(), "seeds": seeds}
    _begin(directory, plan, resume)
    arms = {
        "vanilla": config.replace(model=config.model.vanilla()),
        config.model.arm: config,
    }
    results = []
    # Seed by seed, so that a comparison cut short still has pairs.
    for seed in range(config.train.seed, config.train.seed + seeds):
        for arm, arm_config in arms.items():
            path = directory / f"{arm}-seed{seed}"
            begun = resume and RunDirectory(path).begun()
            results.append(
                run_experiment(
                    arm_config.replace(train={"seed": seed}),
                    path,
                    resume=begun,
                    tensorboard=tensorboard,
                )
            )
    save(plot_curves(read_histories([directory])), directory / "curves.png")
    write_text(
        directory / "comparison.md",
        f"{comparison_table(results)}\n\n![Loss and accuracy of both arms](curves.png)\n",
    )
    return results


def _begin(directory, plan, resume):
    path = directory / "comparison.json"
    if path.exists() and not resume:
        raise InputError(
            f"{directory} already holds a comparison. Go on with it by --resume {directory}, or "
            "choose another folder with --out."
        )
    if path.exists() and json.loads(path.read_text()) != json.loads(json.dumps(plan)):
        raise InputError(
            f"{directory} cannot go on as another comparison than the one in {path}. Leave "
            "settings and --seeds as they were, or start a new comparison."
        )
    make_folder(directory)
    write_json(path, plan)


def comparison_table(results):
    """Render results of two arms as a Markdown table with intervals, and the published beside.

    Args:
        results: List of `Result` of one recipe and dataset, the same seeds in each arm.

    Returns:
        Text.
    """
    arms = {}
    for result in results:
        arms.setdefault(result.arm, []).append(result)
    header = (
        "| arm | parameters | top-1 % | top-5 % | published top-1 / top-5 % | seeds | s / epoch |\n"
        "|---|---:|---:|---:|---:|---:|---:|"
    )
    lines = [header, *(_row(arm, runs) for arm, runs in arms.items())]
    if len(arms) == 2:
        lines.append(_difference_row(*arms.values()))
    first = results[0]
    lines += [
        "",
        f"{first.recipe} on {first.dataset}: test set, last epoch of {first.epochs}, "
        "mean ± 95 % interval over seeds (paired by seed in the difference).",
        f"{first.device}, {first.backend}, Keras {first.versions['keras']}, {first.precision}.",
    ]
    return "\n".join(lines)


def _row(arm, runs):
    published = PUBLISHED.get((runs[0].recipe, runs[0].dataset, arm))
    beside = "–"
    if published is not None:
        beside = f"{published.accuracy * 100:.2f}"
        if published.top5_accuracy is not None:
            beside += f" / {published.top5_accuracy * 100:.2f}"
    return (
        f"| {arm} | {runs[0].trainable_parameters:,} "
        f"| {Estimate.of([run.test_accuracy for run in runs]).percent()} "
        f"| {Estimate.of([run.test_top5_accuracy for run in runs]).percent()} "
        f"| {beside} | {len(runs)} "
        f"| {np.median([run.seconds_per_epoch for run in runs]):.1f} |"
    )


def _difference_row(first, second):
    baseline = {run.seed: run for run in first}
    pairs = [(baseline[run.seed], run) for run in second if run.seed in baseline]
    top1 = Estimate.of([new.test_accuracy - old.test_accuracy for old, new in pairs])
    top5 = Estimate.of([new.test_top5_accuracy - old.test_top5_accuracy for old, new in pairs])
    extra = second[0].trainable_parameters - first[0].trainable_parameters
    slower = np.median([new.seconds_per_epoch / old.seconds_per_epoch for old, new in pairs])
    return (
        f"| difference | {extra:+,} | {top1.percent(sign=True)} | {top5.percent(sign=True)} "
        f"| | {len(pairs)} | × {slower:.2f} |"
    )
