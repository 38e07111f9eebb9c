"""Measures a trained model on new labelled images, and writes a report about them."""

from pathlib import Path

import numpy as np

from small_vit.data.folder.dataset import FolderDataset
from small_vit.data.folder.listing import list_images
from small_vit.data.image_files import read_image
from small_vit.errors import InputError
from small_vit.files import make_folder, write_json, write_text
from small_vit.plots.labels import printable
from small_vit.report.classes_section import classes_section
from small_vit.report.examples_section import examples_section
from small_vit.report.html_page import html_page
from small_vit.report.markdown import escape, join
from small_vit.report.metrics_table import metrics_table
from small_vit.results.evaluation import evaluate
from small_vit.results.image_predictions import predict_files
from small_vit.results.saved_model import fit_of, kind_of_outputs, load_model


class ImageFiles:
    """The part of a `Split` that a report uses, read from image files when it is used.

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

    def __len__(self):
        return len(self.labels)

    def read(self, rows):
        """Return the images of `rows`, uint8 `(rows, height, width, channels)`."""
        *size, channels = self.image_shape
        return np.stack([read_image(self.paths[row], size, channels, self.fit) for row in rows])


def evaluate_new_images(model_path, data_dir, out, batch_size, on_unreadable):
    """Measure a saved model on labelled images, and write report.md, report.html and metrics.json.

    Args:
        model_path: Run directory or `.keras` file.
        data_dir: Folder or table of images (`list_images`). Its classes must be among the model's.
        out: Folder of the report, made if absent.
        batch_size: Images at a time.
        on_unreadable: Called with the `InputError` of a file that cannot be read.

    Returns:
        The report's table of metrics, Markdown.

    Raises:
        InputError: if model or images cannot be used, or no image can be read.
    """
    model, class_names = load_model(model_path)
    fit, listing = fit_of(model_path), list_images(data_dir)
    unknown = sorted(set(listing.class_names) - set(class_names))
    if unknown:
        raise InputError(
            f"{data_dir} has classes that the model does not know: {', '.join(unknown)}. The "
            f"model's classes are: {', '.join(class_names)}."
        )
    label_of = {
        listing.root / file.path: class_names.index(listing.class_names[file.label])
        for file in listing.files
    }
    predicted = list(
        predict_files(model, label_of, kind_of_outputs(model), fit, batch_size, on_unreadable)
    )
    if not predicted:
        raise InputError(f"No image in {data_dir} can be read.")
    paths, probabilities = zip(*predicted, strict=True)
    # The logarithm of probabilities is as good as logits: their softmax is the same.
    logits = np.log(np.maximum(np.stack(probabilities), np.finfo("float32").tiny))
    labels = np.array([label_of[path] for path in paths], "int32")
    measured = evaluate(logits, labels)

    images = ImageFiles(paths, labels, model.input_shape[1:], fit)
    names = tuple(str(path) for path in paths)
    # A report needs a training split; the sections below show the test split alone.
    dataset = FolderDataset(
        Path(data_dir).resolve().name, images, images, tuple(class_names), files={"test": names}
    )
    make_folder(out)
    title = f"{Path(model_path).name} on {dataset.name}"
    metrics = metrics_table(
        {"test": measured.metrics}, {"test": measured.intervals}, len(class_names)
    )
    text = join(
        f"# {escape(title)}",
        f"{len(labels):,} images of {len(set(labels.tolist()))} classes. The model was not trained "
        "here: these are new images to it, unless some of them were in its training set.",
        metrics,
        "*In brackets: 95 % interval, from a bootstrap over these images.*",
        classes_section(Path(out), logits, labels, class_names),
        examples_section(Path(out), logits, dataset),
    )
    write_text(Path(out) / "report.md", text + "\n")
    write_text(Path(out) / "report.html", html_page(text, printable(title), Path(out)))
    write_json(
        Path(out) / "metrics.json", {"metrics": measured.metrics, "intervals": measured.intervals}
    )
    return metrics
