"""The pictures of a run that depend on its model family, by name."""

from collections.abc import Callable
from dataclasses import dataclass

from small_vit.data.image_files import scale_image
from small_vit.plots import plot_attention, plot_shifted_views, plot_temperature_history
from small_vit.sizes import as_pair


@dataclass(frozen=True)
class Picture:
    """A picture in a run's report.

    Attributes:
        draw: Function from a config, a model, an image, class names and a history to a figure, or
            to None if the run has no such picture.
        heading: Heading above it.
        description: What it shows.
    """

    draw: Callable
    heading: str
    description: str


def _shifted_views(config, model, image, class_names, history):
    vit = config.model
    scaled = scale_image(image, as_pair(vit.image_size))
    return plot_shifted_views(scaled, vit.patch_size, vit.shifts, vit.shift_ratio, vit.stride)


def _attention(config, model, image, class_names, history):
    return plot_attention(model, image, class_names)


def _temperature_history(config, model, image, class_names, history):
    if config.model.temperature == "none":
        return None
    return plot_temperature_history(history)


PICTURES = {
    "shifted_views": Picture(
        _shifted_views,
        "What a patch sees",
        "The first test image and the shifted copies its patches are cut from",
    ),
    "attention": Picture(
        _attention,
        "Where it looks",
        "The first test image, and the attention of each layer and head to it, and the rollout",
    ),
    "temperature_history": Picture(
        _temperature_history,
        "How sharply it looks",
        "What the attention scores of each block are divided by, over the epochs",
    ),
}
"""The pictures by name."""
