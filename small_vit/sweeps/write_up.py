"""Writes the table and the pictures of a sweep."""

from small_vit.files import make_folder, write_text
from small_vit.plots import plot_curves, save
from small_vit.plots.sources import read_histories
from small_vit.results.tables import comparison_table
from small_vit.sweeps.pictures import plot_learned_temperatures, plot_sweep
from small_vit.sweeps.summary import sweep_table


def write_up(plan, summaries):
    """Write sweep.md with its pictures into the plan's folder, and print the table.

    Args:
        plan: `Plan`.
        summaries: List of `ArmSummary`, one per arm.
    """
    rows = [row for summary in summaries for row in summary.rows]
    compared = plan.name == "arms" and rows
    table = comparison_table(rows) if compared else sweep_table(summaries)
    make_folder(plan.folder)
    pictures = {"sweep.png": plot_sweep(plan.sweep, summaries)}
    left_by_runs = []
    if plan.name == "arms" and all((run.directory / "metrics.jsonl").exists() for run in plan.runs):
        pictures["curves.png"] = plot_curves(read_histories([plan.folder]))
    if "temperature" in plan.sweep.axes:
        first = plan.runs[: len(plan.arms)]
        pictures["temperatures.png"] = plot_learned_temperatures(first)
        left_by_runs = [f"{run.name}/temperature_history.png" for run in first]
    drawn = {name: figure for name, figure in pictures.items() if figure is not None}
    for name, figure in drawn.items():
        save(figure, plan.folder / name)
    names = [*drawn, *(name for name in left_by_runs if (plan.folder / name).exists())]
    shown = "".join(f"\n![{plan.sweep.question}]({name})\n" for name in names)
    write_text(plan.folder / "sweep.md", f"# {plan.sweep.question}\n\n{table}\n{shown}")
    print(f"\n{table}\n\nRows in {plan.rows_path}, table and pictures in {plan.folder}")
