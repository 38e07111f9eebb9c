"""The model card of a run: README.md with a block of metadata that hubs read."""

import csv
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from small_vit.data import load_data
from small_vit.deploy.samples import write_samples
from small_vit.errors import InputError
from small_vit.files import make_folder, read_lines, write_text
from small_vit.models.registry import FAMILIES
from small_vit.plots.labels import printable
from small_vit.report.markdown import escape, join, table
from small_vit.report.metrics_table import FEWEST_CLASSES_FOR_TOP5, metrics_table
from small_vit.results.result import passes_suffix
from small_vit.results.rows import without_folders
from small_vit.results.run_directory import RunDirectory
from small_vit.results.saved_model import about_model, load_model

UNNAMED = "OWNER/NAME"
ON_HUBS = {
    "cifar10": "uoft-cs/cifar10",
    "cifar100": "uoft-cs/cifar100",
    "cifar100-coarse": "uoft-cs/cifar100",
    "fashion_mnist": "zalando-datasets/fashion_mnist",
}
"""Datasets by the names that they have on the Hugging Face hub."""
HUB_METRICS = {
    "accuracy": ("accuracy", "top-1 accuracy"),
    "top5_accuracy": ("accuracy", "top-5 accuracy"),
    "f1": ("f1", "F1, mean over classes"),
    "precision": ("precision", "precision, mean over classes"),
    "recall": ("recall", "recall, mean over classes"),
    "roc_auc": ("roc_auc", "area under the ROC curve"),
}
"""Metrics that hubs know: their names there, and ours."""


def write_card(path, out, name=UNNAMED, license="unknown", samples=0):
    """Write the model card of a finished run.

    Args:
        path: Run directory.
        out: The file. Test images go into the folder samples/ beside it.
        name: "OWNER/NAME" of the model on a hub.
        license: Identifier of the model's licence as hubs know it, like "mit".
        samples: Number of test images to show, which are then published with the card.

    Raises:
        InputError: if there is no finished run with a report, its data cannot be read for
            `samples`, or the disk refuses.
    """
    out, run = Path(out), RunDirectory(path)
    config, result = run.config(), run.finished_result()
    classes, first_lines = _per_class(run), _first_lines(run)
    model, class_names = load_model(path)
    make_folder(out.parent)
    shown = []
    if samples:
        dataset = load_data(config.data, config.model.image_size)
        shown = write_samples(dataset, out.parent / "samples", samples)
    metadata = _metadata(config, result, len(class_names), name, license, shown, out.parent)
    title = f"{result.arm} on {result.dataset}"
    text = join(
        f"---\n{metadata.to_yaml()}\n---",
        f"# {escape(title)}",
        _about(config, result, class_names, model),
        "## Intended use",
        _intended_use(config, class_names),
        "## Results and limits",
        first_lines,
        _general_limits(result),
        metrics_table({"test": result.metrics}, {"test": result.intervals}, len(class_names)),
        _positive_class(about_model(path), class_names),
        "## Results of each class",
        classes,
        "## How it was trained",
        _training(config, result),
        "## How to load it",
        _loading(name, model, config),
    )
    write_text(out, text + "\n")


def _per_class(run):
    lines = read_lines(run / "per_class.csv", "figures of classes")
    if not lines:
        raise InputError(
            f"{run.path} holds no per_class.csv. Write the run's report again: small-vit report "
            f"{run.path}."
        )
    headings = {"precision": "precision", "recall": "recall", "f1": "F1", "roc_auc": "ROC area"}
    rows = [
        [escape(of["name"]), f"{int(of['images']):,}", *(_rounded(of[score]) for score in headings)]
        for of in csv.DictReader(lines)
    ]
    return table(["class", "test images", *headings.values()], rows)


def _rounded(text):
    return f"{float(text):.3f}" if text else ""


def _first_lines(run):
    """What the report says before its first table: the accuracy, and what it does not show."""
    lines = read_lines(run / "report.md", "text")
    tables = [number for number, line in enumerate(lines) if line.startswith("|")]
    if not tables:
        raise InputError(
            f"{run.path} holds no report.md. Write it again: small-vit report {run.path}."
        )
    return "\n".join(lines[1 : tables[0]]).strip()


def _metadata(config, result, num_classes, name, license, shown, folder):
    dataset = config.data.dataset
    metrics = {key: told for key, told in HUB_METRICS.items() if key in result.metrics}
    if num_classes < FEWEST_CLASSES_FOR_TOP5:
        metrics.pop("top5_accuracy", None)
    evaluated = [
        EvalResult(
            task_type="image-classification",
            task_name="Image classification",
            dataset_type=ON_HUBS.get(dataset, "imagefolder" if dataset == "folder" else dataset),
            dataset_name=printable(result.dataset),
            dataset_split="test",
            metric_type=kind,
            metric_name=label,
            metric_value=round(result.metrics[key], 4),
        )
        for key, (kind, label) in metrics.items()
    ]
    widget = [
        {"src": path.relative_to(folder).as_posix(), "example_title": printable(label)}
        for path, label in shown
    ]
    return ModelCardData(
        library_name="keras",
        license=license,
        pipeline_tag="image-classification",
        tags=["keras", "small-vit", "image-classification", config.model.kind],
        datasets=[ON_HUBS[dataset]] if dataset in ON_HUBS else None,
        metrics=list(dict.fromkeys(kind for kind, _ in metrics.values())),
        model_name=name.rpartition("/")[2],
        eval_results=evaluated,
        widget=widget or None,
    )


def _about(config, result, class_names, model):
    height, width, channels = model.input_shape[1:]
    colors = "colour" if channels == 3 else "grey"
    return (
        f"An image classifier of the family {config.model.kind}, trained {_start(config)} with "
        f"[Keras 3](https://keras.io) and small_vit: {result.trainable_parameters:,} trained "
        f"parameters, {result.forward_flops / 1e9:.3f} GFLOP for an image of {height} × {width} "
        f"{colors} pixels, {len(class_names):,} classes."
    )


def _start(config):
    if config.train.init_from is not None:
        return f"from the weights of {escape(config.train.init_name)}"
    if FAMILIES[config.model.kind].trained:
        return f"from the weights of {escape(Path(config.model.preset).name)}"
    return "from scratch"


def _intended_use(config, class_names):
    images = (
        f"images like those of the folder {escape(Path(config.data.data_dir).name)}"
        if config.data.dataset == "folder"
        else f"images like those of {config.data.dataset}"
    )
    return (
        f"To sort {images} into these classes: {', '.join(map(escape, class_names))}.\n\n"
        "It gives one of them for every image, also for one that shows none of them. Where an "
        "error could harm someone, let a person decide."
    )


def _general_limits(result):
    return (
        f"It was trained on {result.train_examples:,} images: on those of another camera, place or "
        "time it may be worse than this test says. Measure it on images of your own before you "
        "rely on it."
    )


def _positive_class(about, class_names):
    if "positive" not in about:
        return ""
    return f"The positive class is {escape(class_names[about['positive']])}."


def _training(config, result):
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    changed = f", changed: {', '.join(map(escape, result.changes))}" if result.changes else ""
    return join(
        f"    {printable(without_folders(result.command))}",
        f"Recipe {escape(config.recipe)}{changed}; seed {result.seed}; {result.epochs} epochs"
        f"{passes_suffix(result)} of batches of {result.batch_size}; {result.seconds:.0f} s on "
        f"{escape(result.device)} ({result.backend}, {result.precision}). Code: commit "
        f"{escape(result.commit)}. Versions: {escape(versions)}.",
    )


def _loading(name, model, config):
    height, width, channels = model.input_shape[1:]
    return f"""Install small_vit from its sources: `pip install '.[train,tensorflow,hub]'`. Then

```python
import small_vit
from small_vit.data.image_files import read_image
from small_vit.results.saved_model import class_probabilities

model, class_names = small_vit.load("hf://{name}")
image = read_image("photo.jpg", ({height}, {width}), channels={channels}, fit="{config.data.fit}")
(probabilities,) = class_probabilities(model.predict(image[None]), "logits")
print(class_names[probabilities.argmax()], probabilities.max())
```

Or by Keras alone, once the layers are registered: the model takes raw uint8 images
`(batch, {height}, {width}, {channels})` and gives logits in the order of classes.json.

```python
import keras
import small_vit  # registers the layers

model = keras.saving.load_model("hf://{name}")
```"""
