"""The table of model families, made from the measured rows."""

from row_files import not_yet_run, rest_to_run, sweep_command
from small_vit.recipes import RECIPES
from small_vit.results.rows import read_rows, rows_by_backend
from small_vit.results.tables import where_run
from small_vit.sweeps import SWEEPS
from small_vit.sweeps.summary import summarise

SWEPT_RECIPES = ("fashion-mnist", "cpu")


def family_table(results):
    """Render the rows of the sweep "families" on several recipes as one Markdown table.

    Args:
        results: Folder of the measured rows, a `Path`.

    Returns:
        Text; it names the commands whose rows are missing.
    """
    lines, rows, missing = [], [], []
    for recipe in SWEPT_RECIPES:
        groups = rows_by_backend(read_rows(results / f"families-{recipe}.jsonl")).values()
        if not groups:
            missing.append(not_yet_run(sweep_command("families", recipe)))
        for group in groups:
            summaries = summarise(SWEEPS["families"].arms(RECIPES[recipe]()), group)
            work = _work(summaries[0]) if summaries[0].rows else None
            lines += [_line(summary, work) for summary in summaries if summary.rows]
            missing += rest_to_run(summaries, "families", recipe)
            rows += group
    if not rows:
        return "\n\n".join(missing)
    table = [
        "| recipe | model | parameters | FLOPs | top-1 % | − vit | epochs | work | n |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
        *lines,
        "",
        "Test set, last epoch, mean ± 95 % interval over n seeds; the difference from the plain "
        "ViT is paired by seed. FLOPs are of one image's forward pass. Work: FLOPs of the "
        "whole training over those of the plain ViT.",
        *where_run(rows),
    ]
    return "\n\n".join(["\n".join(table), *missing])


def _work(summary):
    """FLOPs of an arm's forward passes over its epochs, for one training image."""
    return summary.rows[0].epochs * summary.rows[0].forward_flops


def _line(summary, work_of_vit):
    rows = summary.rows
    difference = summary.difference.percent(sign=True) if summary.difference else ""
    cells = [
        f"`{rows[0].recipe}`",
        summary.arm.name,
        f"{rows[0].trainable_parameters:,}",
        f"{rows[0].forward_flops / 1e6:,.1f} M",
        summary.accuracy.percent(),
        difference,
        str(rows[0].epochs),
        f"× {_work(summary) / work_of_vit:.2f}" if work_of_vit else "",
        str(len(rows)),
    ]
    return f"| {' | '.join(cells)} |"
