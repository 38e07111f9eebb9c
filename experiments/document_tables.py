"""The tables in the documents, made from the measured rows."""

from itertools import product

import numpy as np

from benchmarks.export_table import export_table
from benchmarks.markdown import speed_tables
from family_tables import family_table
from folder_tables import folder_table, layer_decay_table
from row_files import (
    BENCHMARK_COMMAND,
    FAMILY_BENCHMARK_COMMAND,
    FAMILY_SPEED_ROWS,
    SPEED_ROWS,
    comparison_command,
    not_yet_run,
    rest_to_run,
    sweep_command,
)
from small_vit.errors import InputError
from small_vit.recipes import PUBLISHED, RECIPES
from small_vit.results.histories import read_histories_file, read_published_log
from small_vit.results.rows import read_rows, rows_by_backend
from small_vit.results.statistics import Estimate
from small_vit.results.tables import by_arm, comparison_table
from small_vit.sweeps import SWEEPS
from small_vit.sweeps.summary import summarise, sweep_table

ON_FOLDER = "--dataset folder --data-dir DIR"

FOLDER_TABLES = {
    "folders": ("folder*.jsonl", "vanilla", "python experiments/compare.py DIR --seeds 3"),
    "sam": ("sam-*.jsonl", "plain", f"python experiments/ablation.py sam {ON_FOLDER}"),
    "fit": ("fit-*.jsonl", "crop", f"python experiments/ablation.py fit {ON_FOLDER}"),
    "transfer": (
        "transfer-*.jsonl",
        "scratch",
        "python experiments/transfer.py --from RUN --to DIR",
    ),
}
"""Files of rows, baseline and command of each table whose rows are of several sets of images."""

SPEED_TABLES = {
    "speed": (SPEED_ROWS, BENCHMARK_COMMAND),
    "family-speed": (FAMILY_SPEED_ROWS, FAMILY_BENCHMARK_COMMAND),
}
"""File of rows and command of each table of the benchmark."""

LAYER_DECAY_COMMAND = (
    "small-vit train DIR --init-from RUN --recipe folder --learning-rate 1e-3 --layer-decay DECAY"
)

EPOCHS = (1, 2, 5, 10, 20, 30, 50)
"""Epochs shown in the table of the Keras example's log."""


def _loss(value):
    return f"{value:.3f}"


def _percent(value):
    return f"{value * 100:.1f}"


FIGURES = {
    "training loss": ("loss", _loss),
    "training %": ("accuracy", _percent),
    "validation loss": ("val_loss", _loss),
    "validation %": ("val_accuracy", _percent),
    "validation top-5 %": ("val_top5_accuracy", _percent),
}


def render(text, results):
    """Return a document with each table between markers made again from its rows.

    Args:
        text: The document.
        results: Folder of the measured rows, a `Path`.

    Raises:
        InputError: if there are no rows for a marker, or a file of rows is damaged.
    """
    parts = text.split("<!-- table: ")
    return parts[0] + "".join(f"<!-- table: {_render_part(part, results)}" for part in parts[1:])


def _render_part(part, results):
    name, rest = part.split(" -->", 1)
    _, after = rest.split("<!-- end -->", 1)
    return f"{name} -->\n{_table(name, results)}\n<!-- end -->{after}"


def _table(name, results):
    if name in SPEED_TABLES:
        path, command = SPEED_TABLES[name]
        return speed_tables(results / path) or not_yet_run(command)
    if name == "published":
        return _published_table(results)
    if name == "epochs":
        return _epochs_table(results)
    if name == "bfloat16":
        return _bfloat16_table(results)
    if name in FOLDER_TABLES:
        pattern, baseline, command = FOLDER_TABLES[name]
        return folder_table(sorted(results.glob(pattern)), baseline) or not_yet_run(command)
    if name == "layer-decay":
        return layer_decay_table(results / "layer-decay.jsonl") or not_yet_run(LAYER_DECAY_COMMAND)
    if name == "families":
        return family_table(results)
    if name == "export":
        command = "python experiments/export_speed.py --torch-python ENV/bin/python"
        return export_table(results / "export" / "speed.jsonl") or not_yet_run(command)
    groups = rows_by_backend(read_rows(results / f"{name}.jsonl")).values()
    sweep, recipe = _sweep_and_recipe(name)
    if sweep is not None:
        if not groups:
            return not_yet_run(sweep_command(sweep, recipe))
        return "\n\n".join(_sweep_part(sweep, recipe, rows) for rows in groups)
    if not groups and name in RECIPES:
        return not_yet_run(comparison_command(name))
    if not groups:
        raise InputError(f"There are no rows in {results / name}.jsonl.")
    return "\n\n".join(map(comparison_table, groups))


def _sweep_and_recipe(name):
    """The parts of SWEEP-RECIPE, in which either may have a hyphen; else None and None."""
    pairs = ((sweep, name.removeprefix(f"{sweep}-")) for sweep in SWEEPS)
    known = (pair for pair in pairs if pair[1] != name and pair[1] in RECIPES)
    return next(known, (None, None))


def _sweep_part(sweep, recipe, rows):
    summaries = summarise(SWEEPS[sweep].arms(RECIPES[recipe]()), rows)
    return "\n\n".join([sweep_table(summaries), *rest_to_run(summaries, sweep, recipe)])


def _published_table(results):
    recipes = dict.fromkeys((recipe, dataset) for recipe, dataset, _ in PUBLISHED)
    lines = [
        "| recipe | arm | published top-1 / top-5 % | ours, last epoch | ours, best on test "
        "| seeds |",
        "|---|---|---:|---|---|---:|",
    ]
    for recipe, dataset in recipes:
        groups = rows_by_backend(read_rows(results / f"{recipe}.jsonl")).values()
        for arm, group in product(("vanilla", "spt+lsa"), groups or [[]]):
            runs = by_arm(group).get(arm, [])
            ours, best = not_yet_run(comparison_command(recipe)), ""
            if runs:
                ours = _top1_and_top5([run.metrics for run in runs])
                if runs[0].best_on_test:
                    best = _top1_and_top5([run.best_on_test for run in runs])
            published = PUBLISHED[recipe, dataset, arm].percent()
            lines.append(f"| `{recipe}` | {arm} | {published} | {ours} | {best} | {len(runs)} |")
    return "\n".join(lines)


def _epochs_table(results):
    """The Keras example's log next to our runs. Its rate is constant, so epochs are comparable."""
    published = read_published_log(results / "published" / "keras_example_log.csv")
    histories = read_histories_file(results / "epochs" / "keras-example.jsonl")
    groups = rows_by_backend(history for history in histories if not history.changes)
    return "\n\n".join(_epochs_part(published, runs) for runs in groups.values() or [[]])


def _epochs_part(published, histories):
    lines = [
        f"| arm | epoch | {' | '.join(f'{figure}, published | ours' for figure in FIGURES)} | n |",
        "|---|---:" + "|---:|---:" * len(FIGURES) + "|---:|",
    ]
    for arm, log in published.items():
        for epoch in EPOCHS:
            runs = [
                history.epochs[epoch - 1]
                for history in histories
                if history.arm == arm and len(history.epochs) >= epoch
            ]
            cells = [arm, str(epoch)]
            for name, form in FIGURES.values():
                values = [row[name] for row in runs]
                cells += [form(log[epoch - 1][name]), _spread(values, form) if values else ""]
            lines.append(f"| {' | '.join([*cells, str(len(runs))])} |")
    where = sorted({f"{each.device}, {each.backend}, {each.precision}." for each in histories})
    commits = sorted({commit for each in histories for commit in (each.commit, *each.resumed)})
    code = [f"Code: commits {', '.join(commits)}."] if commits else []
    return "\n".join([*lines, "", *where, *code])


def _spread(values, form):
    """The mean of `values`, and where there are several the half-width of its 95 % interval."""
    estimate = Estimate.of(values)
    if estimate.half_width is None:
        return form(estimate.mean)
    return f"{form(estimate.mean)} ± {form(estimate.half_width)}"


def _top1_and_top5(metrics):
    names = ("accuracy", "top5_accuracy")
    return " / ".join(Estimate.of([each[name] for each in metrics]).percent() for name in names)


def _bfloat16_table(results):
    """Runs in bfloat16 next to the same runs in float32."""
    rows = [row for path in sorted(results.glob("*.jsonl")) for row in read_rows(path)]
    float32 = {_without_precision(row): row for row in rows if row.precision == "float32"}
    groups = {}
    for row in rows:
        if row.precision == "bfloat16" and _without_precision(row) in float32:
            groups.setdefault((row.recipe, row.train_examples, row.arm), []).append(row)
    lines = [
        "| recipe, training images | arm | float32, top-1 % | bfloat16 | difference | seeds |",
        "|---|---|---:|---:|---:|---:|",
    ]
    if not groups:
        raise InputError(f"No run in {results} has been made in bfloat16 and in float32.")
    for (recipe, images, arm), bfloat16 in groups.items():
        pairs = [(float32[_without_precision(row)], row) for row in bfloat16]
        accuracies = np.array([[run.metrics["accuracy"] for run in pair] for pair in pairs])
        columns = [Estimate.of(column).percent() for column in accuracies.T]
        difference = Estimate.of(accuracies[:, 1] - accuracies[:, 0]).percent(sign=True)
        cells = [f"`{recipe}`, {images:,}", arm, *columns, difference, str(len(pairs))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _without_precision(row):
    changes = [change for change in row.changes if not change.startswith("train.precision")]
    # A sweep gives its arms names of its own.
    model = (row.recipe, row.train_examples, row.trainable_parameters)
    return *model, row.seed, row.backend, row.epochs, *changes
