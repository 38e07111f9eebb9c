"""report.md and report.html: a report of one run, with pictures."""

import warnings

from small_vit.data.folder.dataset import FolderDataset
from small_vit.files import write_text
from small_vit.plots import plot_curves
from small_vit.plots.labels import printable
from small_vit.recipes import RECIPES
from small_vit.report.classes_section import classes_section
from small_vit.report.data_section import data_section
from small_vit.report.examples_section import examples_section
from small_vit.report.html_page import html_page
from small_vit.report.markdown import escape, join, picture
from small_vit.report.metrics_table import metrics_table
from small_vit.report.model_section import model_section
from small_vit.report.summary import summary
from small_vit.results.result import passes_suffix
from small_vit.results.threshold import positive_class


def write_report(directory, config, result, model, logits, dataset):
    """Write report.md, its pictures and per_class.csv into a run directory, and report.html.

    report.html is the same in one file, with the pictures in it.

    Args:
        directory: `RunDirectory`.
        config: The run's `ExperimentConfig`.
        result: Its `Result`.
        model: The trained model.
        logits: `(examples, classes)`, its outputs for the test images.
        dataset: The run's `Dataset`.
    """
    files = dataset.files["test"] if isinstance(dataset, FolderDataset) else None
    title = f"{result.arm} on {result.dataset}, recipe {result.recipe}, seed {result.seed}"
    history, labels = directory.history(), dataset.test.labels
    temperature = result.metrics.get("temperature")
    with warnings.catch_warnings():
        # Matplotlib's font lacks some scripts. The text has all names as they are.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        text = join(
            f"# {escape(title)}",
            summary(config, result, logits, dataset, history),
            _metrics(config, result, dataset),
            data_section(directory, config, dataset),
            _curves(directory, result, history),
            classes_section(directory, logits, labels, dataset.class_names, temperature),
            examples_section(directory, logits, dataset.test, dataset.class_names, files),
            model_section(directory, model, dataset, logits, history),
            _how_it_was_made(result),
        )
    write_text(directory / "report.md", text + "\n")
    page = html_page(text, printable(title), directory.path)
    write_text(directory / "report.html", page)


def _metrics(config, result, dataset):
    columns = {"test": result.metrics, "validation": result.validation}
    intervals = {"test": result.intervals}
    notes = []
    if result.intervals:
        notes.append("In brackets: 95 % interval, from a bootstrap over the test images.")
    if "temperature" in result.metrics and result.validation:
        notes.append("Validation is of the model before calibration.")
    return join(
        metrics_table(columns, intervals, dataset.num_classes),
        _positive_class(config, result, dataset),
        f"*{' '.join(notes)}*" if notes else "",
    )


def _positive_class(config, result, dataset):
    if "precision_positive" not in result.metrics:
        return ""
    names = dataset.class_names
    positive = positive_class(config.data.positive, names, dataset.train.labels)
    told = f"The positive class is {escape(names[positive])}."
    if "threshold" in result.metrics:
        told += (
            " At the threshold, which is chosen on validation, an image is of it from a "
            f"probability of {result.metrics['threshold']:.1%} on."
        )
    return told


def _curves(directory, result, history):
    figure = plot_curves({printable(result.arm): [history]})
    return join(
        "## Curves",
        picture(directory, "curves.png", figure, "Loss and accuracy over the epochs"),
        "*The training loss includes label smoothing, if any, and dropout and augmentation.*",
    )


def _how_it_was_made(result):
    stopped = "" if result.stopped_after is None else f", stopped after {result.stopped_after}"
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    return join(
        "## How it was made",
        f"    {printable(result.command)}",
        _changes(result),
        f"{result.trainable_parameters:,} trainable parameters, {result.forward_flops / 1e9:.3f} "
        "GFLOP in an image's forward pass (matrix products), "
        f"{result.train_examples:,} training images, {result.epochs} epochs"
        f"{passes_suffix(result)} of {result.seconds_per_epoch:.1f} s{stopped}, "
        f"{result.seconds:.0f} s in total on {escape(result.device)} ({result.backend}, "
        f"{result.precision}){_memory(result)}.",
        f"Code: commit {escape(result.commit)}. Versions: {escape(versions)}.",
    )


def _memory(result):
    peak = result.peak_memory_mb
    return "" if peak is None else f", at most {peak:,} MB of memory in the process"


def _changes(result):
    if result.recipe not in RECIPES:
        return "Not from a recipe: config.json holds every setting."
    if not result.changes:
        return f"Every setting is the recipe's ({result.recipe})."
    lines = "\n".join(f"- {escape(change)}" for change in result.changes)
    return f"Changed from the recipe {result.recipe}:\n\n{lines}"
