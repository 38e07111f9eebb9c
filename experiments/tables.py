"""Render the tables of the README and of docs/ from the measured rows."""

import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import tyro

from benchmarks.markdown import speed_tables
from small_vit.errors import InputError, exit_on_input_error
from small_vit.files import write_text
from small_vit.recipes import PUBLISHED, RECIPES
from small_vit.results.histories import read_histories_file, read_published_log
from small_vit.results.rows import read_rows, rows_by_backend
from small_vit.results.statistics import Estimate
from small_vit.results.tables import by_arm, comparison_table
from small_vit.sweeps import SWEEPS
from small_vit.sweeps.summary import summarise, sweep_table

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "experiments" / "results"
SEEDS = {"keras-example": 5, "cpu": 5}  # others: 3
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
BENCHMARK_COMMAND = "python experiments/benchmark.py"
SPEED_ROWS = Path("speed") / "benchmark.jsonl"
"""The file of `experiments/benchmark.py`, in the folder of rows."""


@dataclass(frozen=True)
class CommandLine:
    """Put the tables made from experiments/results/*.jsonl between the documents' markers.

    A table is between `<!-- table: NAME -->` and `<!-- end -->`, and is made from NAME.jsonl. If
    NAME is SWEEP-RECIPE, it is the table of that sweep, which may be not yet run. Other names:
    `published` compares published numbers with ours; `epochs` compares the Keras example's log with
    ours, epoch by epoch; `speed` is for the benchmark; `bfloat16` compares the accuracy of bfloat16
    and float32.
    """

    check: bool = False
    """Change nothing; exit with 1 if a table in a document does not match the rows."""
    documents: tuple[Path, ...] = (
        ROOT / "README.md",
        ROOT / "docs" / "results.md",
        ROOT / "docs" / "speed.md",
    )
    """The files with the markers."""


def main():
    """Run the command line."""
    options = tyro.cli(CommandLine, prog="tables.py")
    with exit_on_input_error():
        texts = {path: path.read_text() for path in options.documents}
        stale = {path: new for path, old in texts.items() if (new := render(old)) != old}
    if options.check and stale:
        names = ", ".join(map(str, stale))
        sys.exit(f"{names}: tables do not match the rows. Run experiments/tables.py")
    for path, new in stale.items():
        write_text(path, new)
        print(f"Written to {path}")
    if not stale:
        print("All tables match the rows.")


def render(text):
    """Return `text` with each table between markers made again from its rows."""
    parts = text.split("<!-- table: ")
    return parts[0] + "".join(f"<!-- table: {_render_part(part)}" for part in parts[1:])


def _render_part(part):
    name, rest = part.split(" -->", 1)
    _, after = rest.split("<!-- end -->", 1)
    return f"{name} -->\n{_table(name)}\n<!-- end -->{after}"


def _table(name):
    if name == "speed":
        return speed_tables(RESULTS / SPEED_ROWS) or not_yet_run(BENCHMARK_COMMAND)
    if name == "published":
        return _published_table()
    if name == "epochs":
        return _epochs_table()
    if name == "bfloat16":
        return _bfloat16_table()
    groups = rows_by_backend(read_rows(RESULTS / f"{name}.jsonl")).values()
    sweep, _, recipe = name.partition("-")
    if sweep in SWEEPS and recipe in RECIPES:
        if not groups:
            return not_yet_run(sweep_command(sweep, recipe))
        return "\n\n".join(_sweep_part(sweep, recipe, rows) for rows in groups)
    if not groups and name in RECIPES:
        return not_yet_run(comparison_command(name))
    if not groups:
        raise InputError(f"There are no rows in {RESULTS / name}.jsonl.")
    return "\n\n".join(map(comparison_table, groups))


def _sweep_part(sweep, recipe, rows):
    summaries = summarise(SWEEPS[sweep].arms(RECIPES[recipe]()), rows)
    return "\n\n".join([sweep_table(summaries), *rest_to_run(summaries, sweep, recipe)])


def _published_table():
    recipes = dict.fromkeys((recipe, dataset) for recipe, dataset, _ in PUBLISHED)
    lines = [
        "| recipe | arm | published top-1 / top-5 % | ours, last epoch | ours, best on test "
        "| seeds |",
        "|---|---|---:|---|---|---:|",
    ]
    for recipe, dataset in recipes:
        groups = rows_by_backend(read_rows(RESULTS / f"{recipe}.jsonl")).values()
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


def _epochs_table():
    """The Keras example's log next to our runs. Its rate is constant, so epochs are comparable."""
    published = read_published_log(RESULTS / "published" / "keras_example_log.csv")
    histories = read_histories_file(RESULTS / "epochs" / "keras-example.jsonl")
    groups = rows_by_backend(history for history in histories if not history.other_changes)
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


def _bfloat16_table():
    """Runs in bfloat16 next to the same runs in float32."""
    rows = [row for path in sorted(RESULTS.glob("*.jsonl")) for row in read_rows(path)]
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
        raise InputError(f"No run in {RESULTS} has been made in bfloat16 and in float32.")
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


def comparison_command(recipe):
    """Return the command that trains both arms of a recipe and adds their rows."""
    return f"python experiments/compare.py --recipe {recipe} --seeds {SEEDS.get(recipe, 3)}"


def sweep_command(sweep, recipe):
    """Return the command that runs a sweep and appends its rows."""
    return f"python experiments/ablation.py {sweep} --recipe {recipe}"


def rest_to_run(summaries, sweep, recipe):
    """Return the command for the missing rows, in a list: empty if all arms have equally many."""
    counts = {len(summary.rows) for summary in summaries}
    return [] if len(counts) == 1 else [f"The rest: `{sweep_command(sweep, recipe)}`"]


def not_yet_run(command):
    """Return the text in place of a table whose rows `command` has not made yet."""
    return f"Not yet run: `{command}`"


if __name__ == "__main__":
    main()
