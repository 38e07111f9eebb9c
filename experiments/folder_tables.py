"""The tables of runs on folders of images, made from the measured rows."""

import numpy as np

from small_vit.report.markdown import table
from small_vit.results.rows import read_rows, rows_by_backend
from small_vit.results.statistics import Estimate, pair_by_seed
from small_vit.results.tables import by_arm, where_run

METRICS = {"top-1 %": "accuracy", "balanced %": "balanced_accuracy", "F1 × 100": "f1"}


def folder_table(paths, baseline):
    """Render files of rows as one Markdown table, with the arms of each file paired by seed.

    Args:
        paths: Files of rows, each of one folder of images.
        baseline: Name of the arm that the others are compared with.

    Returns:
        Text; empty without rows.
    """
    lines, runs = [], []
    for path in paths:
        for rows in rows_by_backend(read_rows(path)).values():
            arms = by_arm(rows)
            arms = {arm: arms[arm] for arm in sorted(arms, key=lambda arm: arm != baseline)}
            lines += [_arm_line(arm, of) for arm, of in arms.items()]
            others = [arm for arm in arms if arm != baseline]
            lines += [_difference_line(arm, arms, baseline) for arm in others if baseline in arms]
            runs += rows
    if not runs:
        return ""
    heading = f"| images | recipe | arm | {' | '.join(METRICS)} | top-1 over test images | n | s |"
    captions = [
        "Test set, mean ± 95 % interval over n seeds, differences paired by seed. Over test "
        "images: the bootstrap interval of a run, its ends averaged over the seeds. F1 is the mean "
        "over the classes. s: median seconds of a run; some had others beside them or were paused.",
        *where_run(runs),
    ]
    return "\n".join([heading, "|---|---|---|---:|---:|---:|---|---:|---:|", *lines, "", *captions])


def layer_decay_table(path):
    """Render the validation accuracy of fine-tuned runs by images and layer decay in Markdown.

    Args:
        path: File of rows.

    Returns:
        Text; empty without rows.
    """
    rows, accuracies = read_rows(path), {}
    for row in rows:
        of = accuracies.setdefault((row.dataset, _layer_decay(row)), [])
        of.append(row.validation["accuracy"])
    if not rows:
        return ""
    headings = ["images", "layer decay", "validation top-1 %", "n"]
    lines = [
        [dataset, f"{decay:g}", Estimate.of(of).percent(), str(len(of))]
        for (dataset, decay), of in sorted(accuracies.items())
    ]
    captions = ["Mean ± 95 % interval over n seeds.", *where_run(rows)]
    return "\n".join([table(headings, lines), "", *captions])


def _layer_decay(row):
    """Read the decay from the row's changes to its recipe, which has none."""
    name = "train.layer_decay: 1.0 -> "
    found = [change.removeprefix(name) for change in row.changes if change.startswith(name)]
    return float(found[0]) if found else 1.0


def _arm_line(arm, runs):
    metrics = [
        Estimate.of([run.metrics[name] for run in runs]).percent() for name in METRICS.values()
    ]
    low, high = np.mean([run.intervals["accuracy"] for run in runs], axis=0)
    seconds = np.median([run.seconds for run in runs])
    cells = [runs[0].dataset, f"`{runs[0].recipe}`", arm, *metrics]
    cells += [f"{100 * low:.1f} to {100 * high:.1f}", str(len(runs)), f"{seconds:.0f}"]
    return f"| {' | '.join(cells)} |"


def _difference_line(arm, arms, baseline):
    pairs = pair_by_seed(arms[baseline], arms[arm])
    differences = [""] * len(METRICS)
    if pairs:
        differences = [
            Estimate.of([new.metrics[name] - old.metrics[name] for old, new in pairs])
            for name in METRICS.values()
        ]
        differences = [each.percent(sign=True) for each in differences]
    cells = [arms[arm][0].dataset, "", f"{arm} − {baseline}", *differences, "", str(len(pairs)), ""]
    return f"| {' | '.join(cells)} |"
