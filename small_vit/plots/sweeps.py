"""Pictures of sweeps: accuracy with its interval, by arm or as curves over a quantity."""

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from small_vit.plots.colors import line_colors
from small_vit.plots.labels import literal


def plot_arms(estimates, baselines, title):
    """Draw a point for each arm with its 95 % interval.

    Baselines are hollow. A dashed line shows each arm the accuracy of its baseline.

    Args:
        estimates: `Estimate` of the accuracy (of 1) by arm, from top to bottom.
        baselines: Name of the baseline by arm; for a baseline it is its own name.
        title: The question of the sweep.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(7.5, 1.5 + 0.32 * len(estimates)), layout="constrained")
    axes = figure.subplots()
    (color,) = line_colors(1)
    for place, (name, estimate) in enumerate(estimates.items()):
        baseline = baselines[name]
        axes.errorbar(
            estimate.mean,
            place,
            xerr=estimate.half_width,
            fmt="o",
            color=color,
            markerfacecolor="white" if name == baseline else color,
            capsize=3,
        )
        if baseline in estimates:
            mean = estimates[baseline].mean
            axes.plot([mean, mean], [place - 0.5, place + 0.5], "--", color="0.35", zorder=0)
    axes.set_yticks(range(len(estimates)), list(map(literal, estimates)))
    axes.set_ylim(len(estimates) - 0.5, -0.5)
    axes.set_xlabel("top-1 test accuracy, 95 % interval (dashed: baseline)")
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=None))
    _finish(figure, axes, title)
    return figure


def plot_over(curves, quantity, title):
    """Draw accuracy against a quantity, one colour per arm, with its 95 % interval as a band.

    Args:
        curves: By arm, a dict of `Estimate`s of its accuracy (of 1) by the quantity.
        quantity: Name of the quantity; its axis is logarithmic.
        title: The question of the sweep.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log")
    for color, (name, estimates) in zip(line_colors(len(curves)), curves.items(), strict=True):
        places = sorted(estimates)
        means = [estimates[place].mean for place in places]
        widths = [estimates[place].half_width or 0 for place in places]  # one seed has no band
        low = [mean - width for mean, width in zip(means, widths, strict=True)]
        high = [mean + width for mean, width in zip(means, widths, strict=True)]
        axes.plot(places, means, color=color, marker="o", label=literal(name))
        axes.fill_between(places, low, high, color=color, alpha=0.15, linewidth=0)
    ticks = sorted({place for estimates in curves.values() for place in estimates})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(quantity)
    axes.set_ylabel("top-1 test accuracy, 95 % interval")
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=None))
    axes.legend(frameon=False)
    _finish(figure, axes, title)
    return figure


def _finish(figure, axes, title):
    figure.suptitle(literal(title), fontsize=11)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
