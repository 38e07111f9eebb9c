"""report.md: one run for a reader, with its pictures."""

from small_vit.config import as_pair
from small_vit.files import write_text
from small_vit.images import scale_image
from small_vit.plots import (
    plot_attention,
    plot_curves,
    plot_shifted_views,
    plot_temperature_history,
    save,
)
from small_vit.recipes import RECIPES, changes_from_recipe
from small_vit.runs import passes_told


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
    image = dataset.test.read([0])[0]
    label, guess = int(dataset.test.labels[0]), int(logits[0].argmax())
    m = config.model
    scaled = scale_image(image, as_pair(m.image_size))
    cut = (m.patch_size, m.shifts, m.shift_ratio, m.stride)
    pictures = {
        "curves.png": plot_curves({result.arm: [directory.history()]}),
        "shifted_views.png": plot_shifted_views(scaled, *cut),
        "attention.png": plot_attention(model, image, dataset.class_names),
    }
    if m.temperature != "none":
        pictures["temperature_history.png"] = plot_temperature_history(directory.history())
    for name, figure in pictures.items():
        save(figure, directory / name)
    names = dataset.class_names
    write_text(
        directory / "report.md",
        f"""# {result.arm} on {result.dataset}, recipe {result.recipe}, seed {result.seed}

| | test | validation |
|---|---:|---:|
| top-1 accuracy | {result.test_accuracy:.2%} | {result.validation_accuracy:.2%} |
| top-5 accuracy | {result.test_top5_accuracy:.2%} | {result.validation_top5_accuracy:.2%} |
| cross-entropy | {result.test_loss:.4f} | {result.validation_loss:.4f} |
| precision, recall, F1 (mean over classes) | {result.test_precision:.4f}, \
{result.test_recall:.4f}, {result.test_f1:.4f} | |
| expected calibration error | {result.test_calibration_error:.4f} | |

{_looked_at_test(result)} {result.trainable_parameters:,} trainable
parameters, {result.forward_flops / 1e9:.3f} GFLOP in an image's forward pass (matrix products),
{result.train_examples:,} training images, {result.epochs} epochs{passes_told(result)} of
{result.seconds_per_epoch:.1f} s, {result.seconds:.0f} s in all on {result.device}
({result.backend}, {result.precision}){_memory(result)}.

    {result.command}

{_changes(config)}

## Curves

![Loss and accuracy over the epochs](curves.png)

The training loss includes label smoothing, if any, and dropout and augmentation.

## What a patch sees

![The first test image and the shifted copies its patches are cut from](shifted_views.png)

## Where it looks

The first test image: {names[label]}, taken for {names[guess]}.

![Attention of each layer and head, and the rollout](attention.png)
{_TEMPERATURES if "temperature_history.png" in pictures else ""}""",
    )


_TEMPERATURES = """
## How sharply it looks

![What the attention scores of each block are divided by, over the epochs](temperature_history.png)
"""


def _memory(result):
    peak = result.peak_memory_mb
    return "" if peak is None else f", at most {peak:,} MB of memory in the process"


def _looked_at_test(result):
    if result.best_on_test_accuracy is None:
        return "The test set was looked at once, after the last epoch."
    return (
        "The test set was watched: validation is on it. The best epoch's accuracy there, "
        f"{result.best_on_test_accuracy:.2%} (top-5 {result.best_on_test_top5_accuracy:.2%}), "
        "was chosen by the very images that it is of."
    )


def _changes(config):
    if config.recipe not in RECIPES:
        return "Not from a recipe: config.json holds every setting."
    changes = changes_from_recipe(config)
    if not changes:
        return f"Every setting is the recipe's ({config.recipe})."
    return f"Changed from the recipe {config.recipe}:\n\n" + "\n".join(f"- {c}" for c in changes)
