"""report.md: a report of one run, with pictures."""

from small_vit.files import write_text
from small_vit.models.registry import FAMILIES
from small_vit.plots import plot_curves, save
from small_vit.recipes import RECIPES, changes_from_recipe
from small_vit.report.pictures import PICTURES
from small_vit.results.result import passes_suffix

METRICS = {
    "accuracy": ("top-1 accuracy", "{:.2%}"),
    "top5_accuracy": ("top-5 accuracy", "{:.2%}"),
    "loss": ("cross-entropy", "{:.4f}"),
    "precision": ("precision, mean over classes", "{:.4f}"),
    "recall": ("recall, mean over classes", "{:.4f}"),
    "f1": ("F1, mean over classes", "{:.4f}"),
    "calibration_error": ("expected calibration error", "{:.4f}"),
}
"""Label and number format of each metric; others are shown by their own names."""


def write_report(directory, config, result, model, logits, dataset):
    """Write report.md and its pictures into a run directory.

    Args:
        directory: `RunDirectory`.
        config: The run's `ExperimentConfig`.
        result: Its `Result`.
        model: The trained model.
        logits: `(examples, classes)`, on the test images.
        dataset: The run's `Dataset`.
    """
    image, history = dataset.test.read([0])[0], directory.history()
    save(plot_curves({result.arm: [history]}), directory / "curves.png")
    sections = []
    for name in FAMILIES[config.model.kind].pictures:
        picture = PICTURES[name]
        figure = picture.draw(config, model, image, dataset.class_names, history)
        if figure is not None:
            save(figure, directory / f"{name}.png")
            sections.append(f"## {picture.heading}\n\n![{picture.description}]({name}.png)\n")
    names = dataset.class_names
    label, guess = int(dataset.test.labels[0]), int(logits[0].argmax())
    pictures = "\n".join(sections)
    write_text(
        directory / "report.md",
        f"""# {result.arm} on {result.dataset}, recipe {result.recipe}, seed {result.seed}

{metrics_table({"test": result.metrics, "validation": result.validation})}

{_test_set(result)}{_averages(config)} The first test image is of {names[label]} and is classified
as {names[guess]}.

{result.trainable_parameters:,} trainable parameters, {result.forward_flops / 1e9:.3f} GFLOP in an
image's forward pass (matrix products), {result.train_examples:,} training images, \
{result.epochs} epochs{passes_suffix(result)} of {result.seconds_per_epoch:.1f} s,
{result.seconds:.0f} s in total on {result.device} ({result.backend}, \
{result.precision}){_memory(result)}.

    {result.command}

{_changes(config)}

## Curves

![Loss and accuracy over the epochs](curves.png)

The training loss includes label smoothing, if any, and dropout and augmentation.

{pictures}""",
    )


def metrics_table(columns):
    """Return a Markdown table of metrics, one per row.

    Args:
        columns: Dicts of metrics by heading; empty ones are left out.
    """
    columns = {heading: metrics for heading, metrics in columns.items() if metrics}
    names = dict.fromkeys(name for metrics in columns.values() for name in metrics)
    ordered = [name for name in METRICS if name in names]
    ordered += [name for name in names if name not in METRICS]
    lines = [f"| | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    for name in ordered:
        label, form = METRICS.get(name, (name, "{:.4f}"))
        cells = [form.format(of[name]) if name in of else "" for of in columns.values()]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _memory(result):
    peak = result.peak_memory_mb
    return "" if peak is None else f", at most {peak:,} MB of memory in the process"


def _test_set(result):
    if not result.best_on_test:
        return "The test set was used once, after the last epoch."
    best = result.best_on_test
    return (
        "Validation is on the test set. The best epoch's accuracy there, "
        f"{best['accuracy']:.2%} (top-5 {best['top5_accuracy']:.2%}), was chosen on the test set "
        "itself."
    )


def _averages(config):
    if not config.train.ema_momentum:
        return ""
    return " The test is of the averaged weights, validation of the weights as they were trained."


def _changes(config):
    if config.recipe not in RECIPES:
        return "Not from a recipe: config.json holds every setting."
    changes = changes_from_recipe(config)
    if not changes:
        return f"Every setting is the recipe's ({config.recipe})."
    return f"Changed from the recipe {config.recipe}:\n\n" + "\n".join(f"- {c}" for c in changes)
