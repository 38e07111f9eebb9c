"""Results of a sweep so far: each arm's accuracy, and its difference from its baseline."""

from dataclasses import dataclass

import numpy as np

from small_vit.errors import InputError
from small_vit.report.markdown import table
from small_vit.results.result import Result, length
from small_vit.results.rows import config_hash
from small_vit.results.statistics import Estimate, pair_by_seed
from small_vit.results.tables import where_run
from small_vit.sweeps.grid import Arm


@dataclass(frozen=True)
class ArmSummary:
    """The results of an arm.

    Attributes:
        arm: The arm.
        rows: Its rows; empty if it was not yet run.
        accuracy: Top-1 test accuracy; None without rows.
        difference: Top-1 accuracy minus that of the baseline, paired by seed; None without pairs,
            and for a baseline.
        pairs: Number of pairs.
    """

    arm: Arm
    rows: list[Result]
    accuracy: Estimate | None
    difference: Estimate | None
    pairs: int


def summarise(arms, rows):
    """Return an `ArmSummary` of each arm.

    Args:
        arms: List of `Arm`, baselines among them.
        rows: List of `Result`; those of other experiments are left out.

    Raises:
        InputError: if a seed occurs twice in an arm.
    """
    by_arm = {arm.name: _rows_of(arm, rows) for arm in arms}
    summaries = []
    for arm in arms:
        pairs = []
        if arm.name != arm.baseline:
            pairs = pair_by_seed(by_arm[arm.baseline], by_arm[arm.name])
        differences = [new.metrics["accuracy"] - old.metrics["accuracy"] for old, new in pairs]
        accuracies = [row.metrics["accuracy"] for row in by_arm[arm.name]]
        summaries.append(
            ArmSummary(
                arm,
                by_arm[arm.name],
                Estimate.of(accuracies) if accuracies else None,
                Estimate.of(differences) if differences else None,
                len(pairs),
            )
        )
    return summaries


def _rows_of(arm, rows):
    found = {}
    for row in rows:
        if row.config_hash != config_hash(arm.config.replace(train={"seed": row.seed})):
            continue
        run = (row.seed, row.backend, row.precision)
        if run in found:
            raise InputError(
                f"{arm.name} occurs twice among the rows with seed {row.seed} on {row.backend}: "
                f"{found[run].command!r} and {row.command!r}. Remove one of them."
            )
        found[run] = row
    return list(found.values())


def sweep_table(summaries):
    """Render summaries as a Markdown table with intervals.

    Args:
        summaries: List of `ArmSummary`.

    Returns:
        Text.
    """
    rows = [row for summary in summaries for row in summary.rows]
    lengths = {length(summary.rows) for summary in summaries if summary.rows}
    differ = len(lengths) > 1
    headings = ["arm", "parameters", "top-1 %", "sd", "− baseline (pairs)", "top-5 %", "n"]
    headings.append("s / epoch")
    lines = [_cells(summary) for summary in summaries]
    if differ:
        headings.append("epochs")
        for summary, cells in zip(summaries, lines, strict=True):
            cells.append(length(summary.rows))
    if not rows:
        return table(headings, lines)
    of = "" if differ else f" of {length(rows)}"
    return "\n".join([table(headings, lines), "", *_captions(summaries[0].arm.config, rows, of)])


def _cells(summary):
    name, rows = summary.arm.name, summary.rows
    if not rows:
        return [name, "", "not yet run", "", "", "", "0", ""]
    accuracy, difference = summary.accuracy, ""
    if name == summary.arm.baseline:
        difference = "baseline"
    elif summary.difference is not None:
        difference = f"{summary.difference.percent(sign=True)} ({summary.pairs})"
    return [
        name,
        f"{rows[0].trainable_parameters:,}",
        accuracy.percent(),
        "–" if accuracy.deviation is None else f"{accuracy.deviation * 100:.2f}",
        difference,
        Estimate.of([row.metrics["top5_accuracy"] for row in rows]).percent(),
        str(len(rows)),
        f"{np.median([row.seconds_per_epoch for row in rows]):.1f}",
    ]


def _captions(config, rows, of):
    which = "last" if config.train.keep == "last" else "on validation best"
    return [
        f"{config.recipe} on {config.data.name}: test set, {which} epoch{of}, mean ± 95 % interval "
        "over n seeds and their standard deviation; the difference from the baseline is paired by "
        "seed.",
        *where_run(rows),
    ]
