"""The page of all results: its sections, tables and pictures."""

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path

from benchmarks.markdown import speed_tables
from row_files import (
    BENCHMARK_COMMAND,
    SPEED_ROWS,
    comparison_command,
    not_yet_run,
    rest_to_run,
    sweep_command,
)
from small_vit.files import make_folder, write_text, written_whole
from small_vit.plots import plot_curves, save
from small_vit.recipes import PUBLISHED, RECIPES
from small_vit.report.html_page import html_page
from small_vit.results.rows import read_rows, rows_by_backend
from small_vit.results.tables import by_arm, comparison_table
from small_vit.sweeps import SWEEPS, Run
from small_vit.sweeps.pictures import plot_learned_temperatures, plot_sweep
from small_vit.sweeps.summary import summarise, sweep_table

TITLE = "Vision Transformers on small datasets: the evidence"
INTRODUCTION = """Accuracy is on the test set after the last epoch. The test set is used once,
except by the recipes `paper…`, which evaluate on it after each epoch as the paper's code does. ± is
half the 95 % interval over seeds (Student's t), and a difference is paired by seed. Every table is
made from the measured rows by `python experiments/report.py`."""
SWEPT_RECIPES = ("keras-example", "paper", "cpu")
"""Recipes for which every sweep is listed, run or not."""


@dataclass(frozen=True)
class Sources:
    """The sources of the report, and its folder.

    Attributes:
        results: Folder of the rows.
        runs: List of `(Result, RunDirectory)`, of finished runs.
        folder: Folder of the report and its pictures.
    """

    results: Path
    runs: list
    folder: Path


def write_report(sources):
    """Write report.md, report.html and the pictures.

    Args:
        sources: `Sources`.
    """
    make_folder(sources.folder)
    swept = [(sweep, recipe) for recipe in RECIPES for sweep in SWEEPS]
    sections = [
        f"# {TITLE}",
        INTRODUCTION,
        "## Vanilla ViT against SPT+LSA",
        *(_comparison(sources, recipe) for recipe in RECIPES),
        "## Ablations",
        *(_sweep(sources, sweep, recipe) for sweep, recipe in swept),
        _sweeps_to_run(sources),
        "## Speed",
        "Images per second of whole train steps. Ratio: speed relative to the contender in the "
        "next column. Of floor: part of the speed that the machine's matrix products or memory "
        "allow.",
        speed_tables(sources.results / SPEED_ROWS) or not_yet_run(BENCHMARK_COMMAND),
    ]
    text = _join(*sections) + "\n"
    write_text(sources.folder / "report.md", text)
    write_text(sources.folder / "report.html", html_page(text, TITLE, sources.folder))


def _comparison(sources, recipe):
    groups = _by_backend(sources, recipe)
    if groups:
        return _join(*(_compared(sources, name, rows) for name, rows in groups.items()))
    published = [
        f"- {arm} on {dataset}: published top-1 / top-5 {numbers.percent()} %"
        for (name, dataset, arm), numbers in PUBLISHED.items()
        if name == recipe
    ]
    command = comparison_command(recipe)
    return _join(f"### {recipe}", "\n".join(published), not_yet_run(command))


def _by_backend(sources, name):
    """Rows by heading; the backend is in the heading only if there are several."""
    groups = rows_by_backend(read_rows(sources.results / f"{name}.jsonl"))
    return {name if len(groups) == 1 else f"{name}-{key}": rows for key, rows in groups.items()}


def _compared(sources, name, rows):
    pictures = _run_pictures(sources, name, by_arm(rows))
    return _join(f"### {name}", comparison_table(rows), *pictures, _commands(rows))


def _sweep(sources, name, recipe):
    """The sections of a sweep that has rows."""
    groups = _by_backend(sources, f"{name}-{recipe}")
    return _join(*(_swept(sources, name, recipe, file, rows) for file, rows in groups.items()))


def _swept(sources, name, recipe, file, rows):
    sweep = SWEEPS[name]
    summaries = summarise(sweep.arms(RECIPES[recipe]()), rows)
    arms = {summary.arm.name: summary.rows for summary in summaries}
    title = "Top-1 accuracy with its 95 % interval."
    pictures = [
        _picture(sources, f"{file}.png", plot_sweep(sweep, summaries), title),
        *_run_pictures(sources, file, arms),
    ]
    table = sweep_table(summaries)
    left = rest_to_run(summaries, name, recipe)
    return _join(
        f"### {name} on {recipe}", sweep.question, table, *left, *pictures, _commands(rows)
    )


def _sweeps_to_run(sources):
    lines = [
        f"| {name} | {recipe} | {not_yet_run(sweep_command(name, recipe))} |"
        for recipe in SWEPT_RECIPES
        for name in SWEEPS
        if not read_rows(sources.results / f"{name}-{recipe}.jsonl")
    ]
    if not lines:
        return ""
    return "\n".join(
        ["### Sweeps not yet run", "", "| sweep | recipe | |", "|---|---|---|", *lines]
    )


def _run_pictures(sources, name, arms):
    """Return pictures of the runs whose folders are in `sources`.

    Curves are over all seeds, attention and temperatures are of the first seed.

    Args:
        sources: `Sources`.
        name: Start of the file names.
        arms: Lists of rows by arm.
    """
    runs = {
        arm: [run for row in rows for run in _runs_of(sources, row)] for arm, rows in arms.items()
    }
    runs = {arm: found for arm, found in runs.items() if found}
    if not runs:
        return []
    curves = plot_curves({arm: [run.history() for run in found] for arm, found in runs.items()})
    first = [Run(arm, found[0].config(), found[0].path) for arm, found in runs.items()]
    temperatures = plot_learned_temperatures(first)
    title = "Learned temperatures after training."
    return [
        _picture(sources, f"{name}-curves.png", curves, "Loss and accuracy by epoch."),
        _picture(sources, f"{name}-temperatures.png", temperatures, title),
        *(_attention(sources, name, run) for run in first),
    ]


def _attention(sources, name, run):
    """The attention picture in the run's folder; empty text if there is none."""
    picture = run.directory / "attention.png"
    if not picture.exists():
        return ""
    file = f"{name}-{run.name}-attention.png"
    with written_whole(sources.folder / file) as partial:
        shutil.copyfile(picture, partial)
    return _captioned(file, f"Attention of {run.name}: each layer and head, and the rollout.")


def _picture(sources, file, figure, title):
    if figure is None:
        return ""
    save(figure, sources.folder / file)
    return _captioned(file, title)


def _captioned(file, title):
    return f"![{title}]({file})\n\n*{title}*"


def _runs_of(sources, row):
    """The run directory of `row`, as a list: empty if it is not in `sources`."""
    result = dataclasses.replace(row, config_hash="")  # a run's own result has no hash
    return [run for other, run in sources.runs if other == result]


def _commands(rows):
    return _code({row.command for row in rows})


def _code(commands):
    """A code block of the commands, each once."""
    return "\n".join(["Made by", "", "```sh", *sorted(commands), "```"])


def _join(*parts):
    return "\n\n".join(filter(None, parts))
