"""The part of a report that shows test images: mistakes, typical and uncertain ones."""

from pathlib import PurePath

import numpy as np
from scipy.special import softmax

from small_vit.plots.examples import plot_captioned
from small_vit.report.data_section import MOST_CLASSES
from small_vit.report.markdown import join, picture

MOST_MISTAKES = 20


def examples_section(directory, logits, split, class_names, files=None):
    """Write the pictures of test images into a run directory, and return their Markdown.

    Args:
        directory: `RunDirectory` or path.
        logits: `(examples, classes)`, on the test images.
        split: The test images; `labels` and `read` are used.
        class_names: Names of the classes.
        files: Path of each test image, or None.
    """
    probabilities = softmax(logits.astype("float64"), axis=-1)
    tested = (directory, probabilities, split, class_names, files)
    parts = ["## What it is wrong about", _mistakes(*tested)]
    if len(class_names) <= MOST_CLASSES:
        parts += [
            "## The most typical image of each class",
            _typical(*tested),
            "## The least certain image of each class",
            _uncertain(*tested),
        ]
    return join(*parts)


def confident_mistakes(probabilities, labels):
    """Return the rows of the mistakes, the most confident first, at most 20.

    Args:
        probabilities: `(examples, classes)`.
        labels: `(examples,)`, integers.
    """
    wrong = np.flatnonzero(probabilities.argmax(-1) != labels)
    order = np.argsort(-probabilities[wrong].max(-1), kind="stable")
    return wrong[order][:MOST_MISTAKES]


def best_of_each_class(scores, labels):
    """Return for each class that has images the row of the one with the highest score.

    Args:
        scores: `(examples,)`.
        labels: `(examples,)`, integers.
    """
    rows = (np.flatnonzero(labels == label) for label in np.unique(labels))
    return np.array([of[scores[of].argmax()] for of in rows])


def _mistakes(directory, probabilities, split, names, files):
    rows = confident_mistakes(probabilities, split.labels)
    if not len(rows):
        return "Every test image is classified correctly."
    predicted = probabilities.argmax(-1)
    captions = [
        [
            names[split.labels[row]],
            f"taken for {names[predicted[row]]}",
            f"probability {probabilities[row].max():.1%}",
        ]
        for row in rows
    ]
    shown = _show(directory, "mistakes.png", rows, captions, split, files, "Mistakes")
    explained = "*The most confident mistakes: true class, and what it was taken for.*"
    return join(shown, explained)


def _typical(directory, probabilities, split, names, files):
    labels = split.labels
    of_true = probabilities[np.arange(len(labels)), labels]
    rows = best_of_each_class(of_true, labels)
    captions = [[names[labels[row]], f"probability {of_true[row]:.1%}"] for row in rows]
    return _show(directory, "typical.png", rows, captions, split, files, "The most typical images")


def _uncertain(directory, probabilities, split, names, files):
    labels = split.labels
    rows = best_of_each_class(-probabilities.max(-1), labels)
    captions = [[names[labels[row]], *_best_two(probabilities[row], names)] for row in rows]
    shown = _show(
        directory, "uncertain.png", rows, captions, split, files, "The least certain images"
    )
    return join(shown, "*True class, and the two that the model finds most probable.*")


def _best_two(probabilities, names):
    best = np.argsort(-probabilities, kind="stable")[:2]
    return [f"{probabilities[label]:.1%} {names[label]}" for label in best]


def _show(directory, name, rows, captions, split, files, description):
    if files is not None:
        captions = [
            [*lines, PurePath(files[row]).name] for row, lines in zip(rows, captions, strict=True)
        ]
    figure = plot_captioned(split.read(rows), captions)
    return picture(directory, name, figure, description)
