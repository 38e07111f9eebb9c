"""A picture of the scores of each class."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from small_vit.plots.colors import line_colors
from small_vit.plots.labels import fitted

_SIZE = 8
_NAME_WIDTH = 130
_SCORES = {"recall": "recall", "precision": "precision", "f1": "F1"}
_MOST_CLASSES = 40
_SHOWN_AT_EITHER_END = 15


def plot_class_scores(scores):
    """Draw bars for recall, precision and F1 of each class, from the lowest F1 to the highest.

    Of more than 40 classes, the 15 with the lowest F1 and the 15 with the highest are drawn.

    Args:
        scores: For each class a dict with `name`, `recall`, `precision` and `f1`.

    Returns:
        The figure.
    """
    scores = sorted(scores, key=lambda each: each["f1"])
    places = np.arange(len(scores), dtype=float)
    if len(scores) > _MOST_CLASSES:
        ends = slice(_SHOWN_AT_EITHER_END), slice(-_SHOWN_AT_EITHER_END, None)
        scores = [each for end in ends for each in scores[end]]
        places = np.arange(2 * _SHOWN_AT_EITHER_END, dtype=float)
        places[_SHOWN_AT_EITHER_END:] += 1  # a gap for the classes between
    figure = Figure(figsize=(7.5, 1.1 + 0.34 * len(scores)), layout="constrained")
    axes = figure.subplots()
    colors = line_colors(len(_SCORES))
    for number, (score, label) in enumerate(_SCORES.items()):
        values = [each[score] for each in scores]
        axes.barh(places + 0.26 * (number - 1), values, 0.24, color=colors[number], label=label)
    names = [fitted(each["name"], _NAME_WIDTH, _SIZE) for each in scores]
    axes.set_yticks(places, names, fontsize=_SIZE)
    axes.set_ylim(places[-1] + 0.6, -0.6)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=len(_SCORES), frameon=False)
    return figure
