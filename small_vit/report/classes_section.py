"""The part of a report about the classes: confusion, scores of each class, reliability."""

import numpy as np

from small_vit.files import write_csv
from small_vit.plots.calibration import plot_reliability
from small_vit.plots.classes import plot_class_scores
from small_vit.plots.confusion import plot_confusion
from small_vit.report.data_section import MOST_CLASSES
from small_vit.report.markdown import escape, join, picture, table
from small_vit.results.calibration import reliability
from small_vit.results.metrics import confusion, per_class

MOST_PAIRS = 20
_SCORES = {
    "recall": "recall",
    "precision": "precision",
    "f1": "F1",
    "roc_auc": "area under ROC",
    "average_precision": "average precision",
}


def classes_section(directory, logits, labels, class_names, temperature=None):
    """Write per_class.csv and the pictures of the classes, and return the Markdown about them.

    Args:
        directory: `RunDirectory`.
        logits: `(examples, classes)`, of the model as it is saved.
        labels: `(examples,)`, integers.
        class_names: Names of the classes.
        temperature: What the saved model divides its logits by. Default: it is not calibrated.
    """
    scores = per_class(logits, labels, class_names)
    rows = [of.values() for of in scores]
    write_csv(directory / "per_class.csv", list(scores[0]), rows)
    scores = [of for of in scores if of["images"]]
    bars = picture(
        directory, "classes.png", plot_class_scores(scores), "Recall, precision and F1 of classes"
    )
    listed = _score_table(scores) if len(scores) <= MOST_CLASSES else ""
    curves = {"the model": reliability(logits, labels)}
    if temperature is not None:
        before = reliability(logits * temperature, labels)
        curves = {"before calibration": before, "after calibration": curves["the model"]}
    return join(
        "## Which classes it confuses",
        _confusion(directory, confusion(logits, labels), class_names),
        "## How well it knows each class",
        bars,
        listed,
        "per_class.csv holds the figures of every class.",
        "## How far its probabilities can be believed",
        picture(directory, "reliability.png", plot_reliability(curves), "Accuracy by confidence"),
        "*On the dashed line it is right as often as its probabilities say; below it, it is "
        "over-confident.*",
    )


def confused_pairs(counts):
    """Return the pairs of classes that are confused most, at most 20.

    Args:
        counts: `(classes, classes)`, images by true class and predicted class.

    Returns:
        List of `(true class, predicted class)`, from the most images to the fewest, above 0.
    """
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    pairs = (np.unravel_index(place, wrong.shape) for place in order)
    return [(int(true), int(predicted)) for true, predicted in pairs if wrong[true, predicted]]


def _confusion(directory, counts, class_names):
    if len(class_names) <= MOST_CLASSES:
        figure = plot_confusion(counts, class_names)
        return picture(directory, "confusion.png", figure, "Images by true and predicted class")
    pairs = confused_pairs(counts)
    if not pairs:
        return "It confuses none."
    rows = [
        [
            escape(class_names[true]),
            escape(class_names[predicted]),
            f"{counts[true, predicted]:,}",
            f"{counts[true, predicted] / counts[true].sum():.1%}",
        ]
        for true, predicted in pairs
    ]
    return table(["class", "taken for", "images", "of the class"], rows, text_columns=2)


def _score_table(scores):
    rows = [
        [
            escape(of["name"]),
            f"{of['images']:,}",
            *("" if of[score] is None else f"{of[score]:.4f}" for score in _SCORES),
        ]
        for of in scores
    ]
    return table(["class", "test images", *_SCORES.values()], rows)
