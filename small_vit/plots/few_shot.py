"""A picture of few-shot accuracy."""

from small_vit.plots.sweeps import plot_over


def plot_few_shot(curves, num_classes, title):
    """Draw top-1 accuracy over the number of shots, with 95 % intervals and the chance level.

    Args:
        curves: By run, a dict of `Estimate`s of its accuracy (of 1) by the number of shots.
        num_classes: Number of classes, whose inverse is the chance level.
        title: Title of the picture.

    Returns:
        The figure.
    """
    figure = plot_over(curves, "training images of each class", title)
    (axes,) = figure.axes
    axes.axhline(1 / num_classes, linestyle="--", color="0.35", linewidth=1, label="chance")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return figure
