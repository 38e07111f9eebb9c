"""Training curves: loss and accuracy of several arms over several seeds."""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from small_vit.errors import InputError
from small_vit.plots.colors import line_colors

_THIN = {"linewidth": 0.8, "alpha": 0.6}
_STYLES = {"training": ("", "--"), "validation": ("val_", "-")}


def plot_curves(histories, published=None):
    """Draw loss and accuracy against the epoch: one colour per arm, training dashed.

    The line is the mean over the seeds that reached the epoch. The band is from the lowest to the
    highest seed. Runs may have different lengths. Published curves are thin lines in the colour of
    the arm.

    Args:
        histories: By arm, a list of histories, one per seed. A history is a list of one dict per
            epoch with `epoch`, `loss` and `accuracy`, and with validation `val_loss` and
            `val_accuracy`.
        published: By arm, a history from a published log; arms that are not in `histories` are
            left out. Default: none.

    Returns:
        The figure.

    Raises:
        InputError: if no history has an epoch.
    """
    if not any(history for seeds in histories.values() for history in seeds):
        raise InputError("There is nothing to draw: no run has finished an epoch.")
    # About 120 letters of the arms' names fit across the figure.
    legend_columns = max(1, 120 // (max(map(len, histories)) + 20))
    legend_rows = math.ceil(len(histories) / legend_columns)
    figure = Figure(figsize=(10, 4.2 + 0.22 * legend_rows), layout="constrained")
    panels = dict(zip(("loss", "accuracy"), figure.subplots(1, 2), strict=True))
    colors = dict(zip(histories, line_colors(len(histories)), strict=True))
    for metric, axes in panels.items():
        for arm, seeds in histories.items():
            for prefix, style in _STYLES.values():
                epochs, values = mean_and_range(seeds, prefix + metric)
                _draw(axes, epochs, values, colors[arm], style)
            if published and arm in published:
                _draw_published(axes, published[arm], metric, colors[arm])
        axes.set_title(metric.capitalize())
        axes.set_xlabel("epoch")
        axes.set_xlim(left=0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    panels["accuracy"].yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=None))
    banded = any(len(seeds) > 1 for seeds in histories.values())
    validated = any(
        "val_loss" in row for seeds in histories.values() for run in seeds for row in run
    )
    parts = ["training", "validation"] if validated else ["training"]
    _explain_lines(figure, parts, banded, bool(published))
    _name_arms(figure, histories, colors, legend_columns)
    return figure


def mean_and_range(seeds, metric):
    """Return the epochs, and for each the mean, minimum and maximum of a metric over the seeds.

    Args:
        seeds: List of histories.
        metric: Key in the dicts of a history.

    Returns:
        `(epochs,)` and `(3, epochs)`: every epoch that a seed reached, over those seeds.
    """
    at_epoch = {}
    for history in seeds:
        for row in history:
            if metric in row:  # A run may have no validation.
                at_epoch.setdefault(row["epoch"], []).append(row[metric])
    epochs = sorted(at_epoch)
    values = [(np.mean(at), np.min(at), np.max(at)) for at in map(at_epoch.get, epochs)]
    return np.array(epochs), np.reshape(values, (-1, 3)).T


def _draw(axes, epochs, values, color, style):
    mean, low, high = values
    axes.plot(epochs, mean, color=color, linestyle=style, linewidth=1.6)
    if len(epochs) == 1:  # One epoch has no line: it is a point, hollow for training.
        axes.plot(epochs, mean, "o", color=color, fillstyle="full" if style == "-" else "none")
    axes.fill_between(epochs, low, high, color=color, alpha=0.15, linewidth=0)


def _draw_published(axes, history, metric, color):
    epochs = [row["epoch"] for row in history]
    for prefix, style in _STYLES.values():
        values = [row[prefix + metric] for row in history]
        axes.plot(epochs, values, color=color, linestyle=style, **_THIN)


def _explain_lines(figure, parts, banded, with_published):
    handles = [
        Line2D([], [], color="0.35", linestyle=_STYLES[part][1], label=part) for part in parts
    ]
    if banded:
        label = "lowest to highest seed (line: mean)"
        handles.append(Line2D([], [], color="0.35", alpha=0.25, linewidth=8, label=label))
    if with_published:
        handles.append(Line2D([], [], color="0.35", **_THIN, label="thin: published"))
    figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False)


def _name_arms(figure, histories, colors, columns):
    handles = [
        Line2D([], [], color=colors[arm], label=f"{arm} ({_count(seeds)})")
        for arm, seeds in histories.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)


def _count(seeds):
    return "1 seed" if len(seeds) == 1 else f"{len(seeds)} seeds"
