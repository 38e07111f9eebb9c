"""Measures a trained model on new labelled images, and writes a report about them."""

from pathlib import Path

import numpy as np

from small_vit.config import DataConfig
from small_vit.data.folder.listing import list_images, refuse_inside_images
from small_vit.data.image_files import read_image
from small_vit.errors import InputError
from small_vit.files import make_folder, write_json, write_text
from small_vit.plots.labels import printable
from small_vit.report import findings
from small_vit.report.classes_section import classes_section
from small_vit.report.examples_section import examples_section
from small_vit.report.html_page import html_page
from small_vit.report.markdown import escape, join
from small_vit.report.metrics_table import metrics_table
from small_vit.report.summary import accuracy_interval
from small_vit.results.evaluation import evaluate
from small_vit.results.image_predictions import predict_files
from small_vit.results.run_directory import RunDirectory
from small_vit.results.saved_model import about_model, kind_of_outputs, load_model


class ImageFiles:
    """Labelled image files that are read when they are used, like a `Split`.

    Args:
        paths: Sequence of paths.
        labels: int32 `(images,)`.
        image_shape: (height, width, channels) to which images are made.
        fit: How (`DataConfig.fit`).
    """

    def __init__(self, paths, labels, image_shape, fit):
        self.paths = paths
        self.labels = labels
        self.image_shape = image_shape
        self.fit = fit

    def read(self, rows):
        """Return the images of `rows`, uint8 `(rows, height, width, channels)`."""
        *size, channels = self.image_shape
        return np.stack([read_image(self.paths[row], size, channels, self.fit) for row in rows])


def evaluate_new_images(model_path, data_dir, out, batch_size, on_unreadable):
    """Measure a saved model on labelled images, and write report.md, report.html and metrics.json.

    Args:
        model_path: Run directory or `.keras` file.
        data_dir: Folder or table of images (`list_images`); if it has parts, those for test count.
            Its classes must be among the model's.
        out: Folder of the report, made if absent.
        batch_size: Images at a time.
        on_unreadable: Called with the `InputError` of a file that cannot be read.

    Returns:
        The report's table of metrics, Markdown.

    Raises:
        InputError: if model or images cannot be used, the model was trained on some of them, or no
            image can be read.
    """
    out = Path(out)
    if RunDirectory(out).started():
        raise InputError(f"{out} holds a run, whose report would be lost. Choose another --out.")
    refuse_inside_images(out, DataConfig(dataset="folder", data_dir=data_dir))
    model, class_names = load_model(model_path)
    label_of = _labels(data_dir, class_names)
    _refuse_seen(model_path, data_dir, label_of)
    about = about_model(model_path)
    fit = about.get("fit", "crop")
    kind = kind_of_outputs(model)
    predicted = list(predict_files(model, label_of, kind, fit, batch_size, on_unreadable))
    if not predicted:
        raise InputError(f"No image in {data_dir} can be read.")
    paths, probabilities = zip(*predicted, strict=True)
    # The logarithm of probabilities is as good as logits: their softmax is the same.
    logits = np.log(np.maximum(np.stack(probabilities), np.finfo("float32").tiny))
    labels = np.array([label_of[path] for path in paths], "int32")
    measured = evaluate(logits, labels, about.get("positive"), threshold=about.get("threshold"))
    metrics = metrics_table(
        {"test": measured.metrics}, {"test": measured.intervals}, len(class_names)
    )

    make_folder(out)
    title = f"{Path(model_path).name} on {Path(data_dir).resolve().name}"
    images = ImageFiles(paths, labels, model.input_shape[1:], fit)
    text = join(
        f"# {escape(title)}",
        f"{len(labels):,} images of {len(np.unique(labels))} classes. "
        f"{_accuracy(measured, len(labels))}",
        metrics,
        "*In brackets: 95 % interval, from a bootstrap over these images.*",
        classes_section(out, logits, labels, class_names),
        examples_section(out, logits, images, class_names, list(map(str, paths))),
    )
    write_text(out / "report.md", text + "\n")
    write_text(out / "report.html", html_page(text, printable(title), out))
    kept = {"metrics": measured.metrics, "intervals": measured.intervals}
    write_json(out / "metrics.json", kept)
    return metrics


def _accuracy(measured, images):
    accuracy = measured.metrics["accuracy"]
    interval = accuracy_interval(accuracy, images, measured.intervals["accuracy"])
    return findings.accuracy_on_test(accuracy, interval, images)


def _labels(data_dir, class_names):
    """Return the label of each image, by its path."""
    listing = list_images(data_dir, fewest_classes=1)
    unknown = sorted(set(listing.class_names) - set(class_names))
    if unknown:
        raise InputError(
            f"{data_dir} has classes that the model does not know: {', '.join(unknown)}. The "
            f"model's classes are: {', '.join(class_names)}."
        )
    labels = {
        listing.root / file.path: class_names.index(listing.class_names[file.label])
        for file in listing.files
        if file.part in (None, "test")
    }
    if not labels:
        raise InputError(f"{data_dir} has parts, but none for test. Name the folder of one part.")
    return labels


def _refuse_seen(model_path, data_dir, paths):
    """Raise if the run in `model_path` has trained or chosen its model on some of the images."""
    run = RunDirectory(model_path)
    seen = run.seen_files() if run.started() else set()
    known = [path for path in paths if path.resolve() in seen]
    if known:
        raise InputError(
            f"The model was trained or chosen on {len(known):,} of the {len(paths):,} images in "
            f"{data_dir}; the first is {known[0]}. Name a folder of new images; small-vit evaluate "
            f"{model_path} measures the run's own test set."
        )
