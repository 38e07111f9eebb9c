"""A picture of a confusion matrix."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from small_vit.plots.labels import fitted, text_width

_SIZE = 8
_NAME_WIDTH = 100
_MOST_CLASSES_WITH_COUNTS = 12


def plot_confusion(counts, class_names):
    """Draw a confusion matrix: colours are parts of the true class, numbers are images.

    Args:
        counts: `(classes, classes)`, images by true class (rows) and predicted class.
        class_names: Names of the classes. Up to 12 classes have their numbers written.

    Returns:
        The figure.
    """
    classes = len(class_names)
    written = classes <= _MOST_CLASSES_WITH_COUNTS
    cell = 0.55 if written else 0.36
    names = [fitted(name, _NAME_WIDTH, _SIZE) for name in class_names]
    side = max(classes * cell, 2.0)
    figure = Figure(figsize=(side + 3.0, side + 1.9), layout="constrained")
    axes = figure.subplots()
    parts = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    drawn = axes.imshow(parts, cmap="Blues", vmin=0, vmax=1)
    # Names that are wider than their column stand upright.
    upright = max(text_width(name, _SIZE) for name in names) > 72 * side / classes - 4
    axes.set_xticks(range(classes), names, fontsize=_SIZE, rotation=90 if upright else 0)
    axes.set_yticks(range(classes), names, fontsize=_SIZE)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if written:
        for (row, column), count in np.ndenumerate(counts):
            color = "white" if parts[row, column] > 0.5 else "black" if count else "0.7"
            axes.text(
                column, row, f"{count:,}", color=color, fontsize=_SIZE, ha="center", va="center"
            )
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8, label="part of the true class")
    bar.ax.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    bar.outline.set_visible(False)
    return figure
