"""Vanilla ViT against SPT+LSA ViT: the same seeds in both arms, and how sure the difference is."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from scipy import stats

from small_vit import hosts
from small_vit.config import VANILLA, ExperimentConfig
from small_vit.errors import InputError
from small_vit.files import make_folder, read_json, write_json, write_text
from small_vit.plots import plot_curves, save
from small_vit.plots.sources import read_histories
from small_vit.recipes import PUBLISHED
from small_vit.runs import RunDirectory, changes_of_going_on, passes_told
from small_vit.training import prepare, run_experiment


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % interval from Student's t.

    Attributes:
        mean: The mean.
        half_width: Half the interval; None for one value, which has no interval.
        deviation: Standard deviation of one seed; None for one value.
    """

    mean: float
    half_width: float | None
    deviation: float | None

    @classmethod
    def of(cls, values):
        """Estimate the mean of `values`, a sequence of floats."""
        values = np.asarray(values, dtype="float64")
        if len(values) == 1:
            return cls(float(values[0]), None, None)
        half_width = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
        return cls(float(values.mean()), float(half_width), float(values.std(ddof=1)))

    def percent(self, sign=False):
        """Return it as "53.10 ± 0.42" (percent)."""
        mean = f"{self.mean * 100:{'+' if sign else ''}.2f}"
        return mean if self.half_width is None else f"{mean} ± {self.half_width * 100:.2f}"


def compare(config, seeds, directory, resume=False, **options):
    """Train both arms on the same seeds and write comparison.md with their curves.

    Args:
        config: `ExperimentConfig` of the SPT+LSA arm; the vanilla arm is the same without SPT and
            LSA. Seeds run from `config.train.seed` upwards.
        seeds: Number of seeds.
        directory: Where the runs' directories go.
        resume: Whether to go on with the comparison begun there: runs that have ended are kept,
            and there may be more seeds.
        **options: `tensorboard` and `checkpoint_minutes`, as in `run_experiment`.

    Returns:
        List of `Result`, both arms.

    Raises:
        InputError: as `run_experiment`, or if both arms would be vanilla or `directory` holds
            another comparison.
    """
    if config.model.arm == "vanilla":
        raise InputError("A comparison needs SPT or LSA on in the arm it compares with vanilla.")
    directory = Path(directory)
    # Seed by seed, so that a comparison cut short still has pairs.
    configs = [
        arm.replace(train={"seed": seed})
        for seed in range(config.train.seed, config.train.seed + seeds)
        for arm in (config.replace(model=config.model.vanilla()), config)
    ]
    prepare(config)  # Bad input should leave no plan behind.
    _refuse_another(directory, config, seeds, resume)
    hosts.of_first(0)  # All have looked before the first one writes.
    if hosts.is_first():
        make_folder(directory)
        plan = {"config": config.to_dict(), "seeds": seeds, "backend": keras.backend.backend()}
        write_json(directory / "comparison.json", plan)
    results = []
    for run in configs:
        path = directory / f"{run.model.arm}-seed{run.train.seed}"
        begun = resume and RunDirectory(path).begun()
        results.append(run_experiment(run, path, resume=begun, **options))
    if hosts.is_first():
        save(plot_curves(read_histories([directory])), directory / "curves.png")
        write_text(
            directory / "comparison.md",
            f"{comparison_table(results)}\n\n![Loss and accuracy of both arms](curves.png)\n",
        )
    return results


def read_plan(directory):
    """Read what is compared in `directory`.

    Returns:
        `(ExperimentConfig, seeds)`, or None if no comparison was begun there.

    Raises:
        InputError: if the plan is damaged.
    """
    path = Path(directory) / "comparison.json"
    if not path.exists():
        return None
    plan = read_json(path)
    try:
        return ExperimentConfig.from_dict(plan["config"]), plan["seeds"]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} cannot be read as a comparison's plan: {error!r}.") from error


def _refuse_another(directory, config, seeds, resume):
    plan = read_plan(directory)
    if plan is not None and not resume:
        raise InputError(
            f"{directory} already holds a comparison. Go on with it by --resume {directory}, or "
            "choose another folder with --out."
        )
    if RunDirectory(directory).begun():
        raise InputError(f"{directory} holds a single run. Choose another folder with --out.")
    if plan is not None:
        changed = changes_of_going_on(directory, plan[0], config)
        changed += [f"seeds: {plan[1]} -> {seeds}"] * (plan[1] > seeds)
        if changed:
            raise InputError(
                f"{directory} cannot go on as another comparison. Changed: {'; '.join(changed)}. "
                "Leave these as they were, or start a new comparison."
            )


def comparison_table(results):
    """Render results of two arms as a Markdown table with intervals, and the published beside.

    Args:
        results: List of `Result` of one recipe and dataset, the same seeds in each arm.

    Returns:
        Text.

    Raises:
        InputError: if they are of different experiments, or a seed is there twice.
    """
    _check_one_experiment(results)
    arms = by_arm(results)
    figures = {"top-1 %": "test_accuracy", "top-5 %": "test_top5_accuracy"}
    if any(run.best_on_test_accuracy is not None for run in results):
        figures["best on test %"] = "best_on_test_accuracy"
    columns = ["arm", "parameters", *figures, "published top-1 / top-5 %", "seeds", "s / epoch"]
    lines = [
        _line(columns),
        "|---" + "|---:" * (len(columns) - 1) + "|",
        *(_line(_row(arm, runs, figures.values())) for arm, runs in arms.items()),
    ]
    if len(arms) == 2:
        lines.append(_line(_difference_row(*arms.items(), figures.values())))
    return "\n".join([*lines, "", *_captions(results)])


def _check_one_experiment(results):
    experiments = {(run.recipe, run.dataset, run.epochs, *_beside_parts(run)) for run in results}
    variants = {(run.arm, *run.changes) for run in results}
    if len(experiments) > 1 or len(variants) > len({run.arm for run in results}):
        told = {f"({run.recipe}, {run.dataset}, {run.epochs}, {run.changes})" for run in results}
        raise InputError(
            "One table is of one experiment. These runs are of several (recipe, dataset, epochs, "
            f"changes): {'; '.join(sorted(told))}. Keep their rows in files of their own."
        )
    runs = Counter((run.arm, run.seed) for run in results)
    twice = [f"{arm} seed {seed}" for (arm, seed), count in runs.items() if count > 1]
    if twice:
        raise InputError(f"A run counts once, but these are there again: {', '.join(twice)}.")


def _beside_parts(run):
    """A run's changes but those of the paper's parts, which one arm has and the other has not."""
    parts = {f"model.{name}" for name in VANILLA}
    return [change for change in run.changes if change.split(":")[0] not in parts]


def _line(cells):
    return f"| {' | '.join(cells)} |"


def by_arm(results):
    """Return lists of `Result` by arm, vanilla first, each in the order of the seeds."""
    arms = {}
    for result in sorted(results, key=lambda run: (run.arm != "vanilla", run.arm, run.seed)):
        arms.setdefault(result.arm, []).append(result)
    return arms


def _captions(results):
    run = results[0]
    changes = dict.fromkeys(change for run in results for change in run.changes)
    changed = f", changed ({'; '.join(changes)})" if changes else ""
    spread = "mean ± 95 % interval over seeds (paired by seed in the difference)"
    if len({run.seed for run in results}) == 1:
        spread = "one seed"
    what = (
        f"{run.recipe} on {run.dataset}{changed}: test set, last epoch of {run.epochs}"
        f"{passes_told(run)}, {spread}."
    )
    captions = [what, *where_run(results)]
    if run.best_on_test_accuracy is not None:
        captions.append(
            "Best on test is the best epoch's, chosen by the test set itself; so are the paper's "
            "published figures."
        )
    return captions


def where_run(results):
    """Return on what `results` were made: lines, one for each machine and one for the code."""
    where = {
        f"{run.device}, {run.backend}, Keras {run.versions['keras']}, {run.precision}."
        for run in results
    }
    commits = sorted({run.commit for run in results})
    return [*sorted(where), f"Code: commit{'s' * (len(commits) > 1)} {', '.join(commits)}."]


def pair_by_seed(baseline, results):
    """Return the pairs `(of baseline, of results)` of two lists of `Result`.

    A pair has one seed, one backend and one precision.
    """
    found = {(run.seed, run.backend, run.precision): run for run in baseline}
    pairs = ((found.get((run.seed, run.backend, run.precision)), run) for run in results)
    return [(old, new) for old, new in pairs if old is not None]


def _row(arm, runs, figures):
    published = None
    if not any(run.changes for run in runs):
        published = PUBLISHED.get((runs[0].recipe, runs[0].dataset, arm))
    beside = "–" if published is None else published.percent()
    return [
        arm,
        f"{runs[0].trainable_parameters:,}",
        *(Estimate.of([getattr(run, name) for run in runs]).percent() for name in figures),
        beside,
        str(len(runs)),
        f"{np.median([run.seconds_per_epoch for run in runs]):.1f}",
    ]


def _difference_row(first, second, figures):
    name = f"{second[0]} − {first[0]}"
    pairs = pair_by_seed(first[1], second[1])
    if not pairs:
        return [name, "", *("" for _ in figures), "", "0", ""]
    differences = [
        Estimate.of([getattr(new, figure) - getattr(old, figure) for old, new in pairs])
        for figure in figures
    ]
    extra = pairs[0][1].trainable_parameters - pairs[0][0].trainable_parameters
    slower = np.median([new.seconds_per_epoch / old.seconds_per_epoch for old, new in pairs])
    return [
        name,
        f"{extra:+,}",
        *(difference.percent(sign=True) for difference in differences),
        "",
        str(len(pairs)),
        f"× {slower:.2f}",
    ]
