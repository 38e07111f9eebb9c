"""The part of a report that shows test images: mistakes, typical and uncertain ones."""

from pathlib import PurePath

import numpy as np
from scipy.special import softmax

from small_vit.data.folder.dataset import FolderDataset
from small_vit.plots.examples import plot_captioned
from small_vit.report.data_section import MOST_CLASSES
from small_vit.report.markdown import join, picture

MOST_MISTAKES = 20


def examples_section(directory, logits, dataset):
    """Write the pictures of test images into a run directory, and return their Markdown.

    Args:
        directory: `RunDirectory`.
        logits: `(examples, classes)`, on the test images.
        dataset: The run's `Dataset`.
    """
    probabilities = softmax(logits.astype("float64"), axis=-1)
    parts = ["## What it is wrong about", _mistakes(directory, probabilities, dataset)]
    if dataset.num_classes <= MOST_CLASSES:
        parts += [
            "## The most typical image of each class",
            _typical(directory, probabilities, dataset),
            "## The least certain image of each class",
            _uncertain(directory, probabilities, dataset),
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


def _mistakes(directory, probabilities, dataset):
    rows = confident_mistakes(probabilities, dataset.test.labels)
    if not len(rows):
        return "Every test image is classified correctly."
    names, predicted = dataset.class_names, probabilities.argmax(-1)
    captions = [
        [
            names[dataset.test.labels[row]],
            f"taken for {names[predicted[row]]}",
            f"probability {probabilities[row].max():.1%}",
        ]
        for row in rows
    ]
    shown = _show(directory, "mistakes.png", rows, captions, dataset, "Mistakes")
    explained = "*The most confident mistakes: true class, and what it was taken for.*"
    return join(shown, explained)


def _typical(directory, probabilities, dataset):
    labels = dataset.test.labels
    of_true = probabilities[np.arange(len(labels)), labels]
    rows = best_of_each_class(of_true, labels)
    captions = [
        [dataset.class_names[labels[row]], f"probability {of_true[row]:.1%}"] for row in rows
    ]
    return _show(directory, "typical.png", rows, captions, dataset, "The most typical images")


def _uncertain(directory, probabilities, dataset):
    labels = dataset.test.labels
    rows = best_of_each_class(-probabilities.max(-1), labels)
    captions = [
        [dataset.class_names[labels[row]], *_best_two(probabilities[row], dataset.class_names)]
        for row in rows
    ]
    shown = _show(directory, "uncertain.png", rows, captions, dataset, "The least certain images")
    return join(shown, "*True class, and the two that the model finds most probable.*")


def _best_two(probabilities, names):
    best = np.argsort(-probabilities, kind="stable")[:2]
    return [f"{probabilities[label]:.1%} {names[label]}" for label in best]


def _show(directory, file, rows, captions, dataset, description):
    if isinstance(dataset, FolderDataset):
        files = dataset.files["test"]
        captions = [
            [*lines, PurePath(files[row]).name] for row, lines in zip(rows, captions, strict=True)
        ]
    figure = plot_captioned(dataset.test.read(rows), captions)
    return picture(directory, file, figure, description)
