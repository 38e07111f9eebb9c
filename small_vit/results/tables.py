"""Tables of results in Markdown, with intervals over seeds."""

from collections import Counter

import numpy as np

from small_vit.errors import InputError
from small_vit.models.registry import FAMILIES
from small_vit.recipes import PUBLISHED
from small_vit.results.result import length
from small_vit.results.statistics import Estimate, pair_by_seed


def comparison_table(results):
    """Render results of two arms as a Markdown table with intervals and the published numbers.

    Args:
        results: List of `Result` of one recipe and dataset, the same seeds in each arm.

    Returns:
        Text.

    Raises:
        InputError: if they are from different experiments, or a seed occurs twice in an arm.
    """
    _check_one_experiment(results)
    arms = by_arm(results)
    figures = {
        "top-1 %": lambda run: run.metrics["accuracy"],
        "top-5 %": lambda run: run.metrics["top5_accuracy"],
    }
    if all(run.best_on_test for run in results):
        figures["best on test %"] = lambda run: run.best_on_test["accuracy"]
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
    experiments = {(run.recipe, run.dataset, run.epochs, *_other_changes(run)) for run in results}
    variants = {(run.arm, *run.changes) for run in results}
    if len(experiments) > 1 or len(variants) > len({run.arm for run in results}):
        received = {
            f"({run.recipe}, {run.dataset}, {run.epochs}, {run.changes})" for run in results
        }
        raise InputError(
            "A table shows one experiment. These runs are from several (recipe, dataset, epochs, "
            f"changes): {'; '.join(sorted(received))}. Keep their rows in separate files."
        )
    runs = Counter((run.arm, run.seed) for run in results)
    twice = [f"{arm} seed {seed}" for (arm, seed), count in runs.items() if count > 1]
    if twice:
        raise InputError(f"These runs occur more than once: {', '.join(twice)}.")


def _other_changes(run):
    """A run's changes except those of the paper's parts, which differ between the arms."""
    parts = {f"model.{name}" for family in FAMILIES.values() for name in family.plain}
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
    which = "last" if run.kept_epoch is None else "on validation best"
    what = (
        f"{run.recipe} on {run.dataset}{changed}: test set, {which} epoch of {length(results)}, "
        f"{spread}."
    )
    captions = [what, *where_run(results)]
    if run.best_on_test:
        captions.append(
            "Best on test is the best epoch's, chosen by the test set itself; so are the paper's "
            "published figures."
        )
    return captions


def where_run(results):
    """Return lines that say where `results` were made: one per machine, and one for the code."""
    where = {
        f"{run.device}, {run.backend}, Keras {run.versions['keras']}, {run.precision}."
        for run in results
    }
    commits = sorted({run.commit for run in results})
    return [*sorted(where), f"Code: commit{'s' * (len(commits) > 1)} {', '.join(commits)}."]


def _row(arm, runs, figures):
    published = None
    if not any(run.changes for run in runs):
        published = PUBLISHED.get((runs[0].recipe, runs[0].dataset, arm))
    published_cell = "–" if published is None else published.percent()
    return [
        arm,
        f"{runs[0].trainable_parameters:,}",
        *(Estimate.of(list(map(figure, runs))).percent() for figure in figures),
        published_cell,
        str(len(runs)),
        f"{np.median([run.seconds_per_epoch for run in runs]):.1f}",
    ]


def _difference_row(first, second, figures):
    name = f"{second[0]} − {first[0]}"
    pairs = pair_by_seed(first[1], second[1])
    if not pairs:
        return [name, "", *("" for _ in figures), "", "0", ""]
    differences = [
        Estimate.of([figure(new) - figure(old) for old, new in pairs]) for figure in figures
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
