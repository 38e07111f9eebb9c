"""The part of a report about what happens inside a model; which pictures, its layers say."""

from small_vit.data.image_files import scale_image
from small_vit.layers.transformer_block import transformer_blocks
from small_vit.plots import (
    learns_temperature,
    plot_attention,
    plot_shifted_views,
    plot_temperature_history,
)
from small_vit.plots.attention import tokenization_of
from small_vit.report.markdown import escape, join, picture


def model_section(directory, model, dataset, logits, history):
    """Write the pictures of a model's parts into a run directory, and return their Markdown.

    Args:
        directory: `RunDirectory`.
        model: The trained model.
        dataset: The run's `Dataset`.
        logits: `(examples, classes)`, on the test images.
        history: Its epochs, a list of dicts.

    Returns:
        Text; empty for a model that has none of these parts.
    """
    image, names = dataset.test.read([0])[0], dataset.class_names
    label, guess = int(dataset.test.labels[0]), int(logits[0].argmax())
    parts, tokenization = [], tokenization_of(model)
    # Patches of a feature map are none of the image.
    if tokenization is not None and tokenization.input.shape[-1] == image.shape[-1]:
        figure = _shifted_views(tokenization, image)
        parts += [
            "## What a patch sees",
            picture(directory, "shifted_views.png", figure, "An image and its shifted copies"),
            "*The first test image and the shifted copies its patches are cut from.*",
        ]
    if transformer_blocks(model):
        figure = plot_attention(model, image, names)
        parts += [
            "## Where it looks",
            picture(directory, "attention.png", figure, "Attention of each block and head"),
            "*The first test image, the attention of each layer and head to it, and the rollout. "
            f"It is of {escape(names[label])} and is classified as {escape(names[guess])}.*",
        ]
    if learns_temperature(model):
        figure = plot_temperature_history(history)
        parts += [
            "## How sharply it looks",
            picture(directory, "temperature_history.png", figure, "Temperatures by epoch"),
            "*What the attention scores of each block are divided by, over the epochs.*",
        ]
    return join(*parts)


def _shifted_views(layer, image):
    scaled = scale_image(image, layer.input.shape[1:3])
    return plot_shifted_views(
        scaled, layer.patch_size, layer.shifts, layer.shift_ratio, layer.stride
    )
