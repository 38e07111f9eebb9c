"""A picture of how far predicted probabilities can be believed."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from small_vit.plots.colors import line_colors


def plot_reliability(curves):
    """Draw accuracy against confidence, and below it how many images have which confidence.

    On the dashed line the model is right as often as its probabilities say. Below it the model is
    over-confident.

    Args:
        curves: By name, the mean confidence, accuracy and number of images of each bin of the
            confidence, from `small_vit.results.calibration.reliability`. Empty bins are not drawn.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(5.5, 5.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], "--", color="0.35", linewidth=1)
    for number, (name, color) in enumerate(zip(curves, line_colors(len(curves)), strict=True)):
        confidence, accuracy, count = (np.asarray(values) for values in curves[name])
        filled = count > 0
        above.plot(
            confidence[filled], accuracy[filled], "o-", color=color, markersize=4, label=name
        )
        width = 0.8 / len(count) / len(curves)
        middles = (np.arange(len(count)) + 0.5) / len(count)
        left = middles + (number - (len(curves) - 1) / 2) * width
        below.bar(left, count / count.sum(), width, color=color)
    above.set_ylabel("accuracy")
    below.set_ylabel("images")
    below.set_xlabel("confidence: probability of the predicted class")
    above.set_xlim(0, 1)
    above.set_ylim(0, 1)
    for axes in (above, below):
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
        axes.grid(alpha=0.25)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    below.xaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    if len(curves) > 1:
        above.legend(frameon=False, loc="upper left")
    return figure
