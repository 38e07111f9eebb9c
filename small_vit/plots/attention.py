"""Pictures of a trained model's attention: maps, rollout, learned temperatures."""

import math

import keras
import numpy as np
from keras import ops
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from small_vit.errors import InputError
from small_vit.layers import ShiftedPatchTokenization
from small_vit.layers.transformer_block import transformer_blocks
from small_vit.plots.colors import line_colors
from small_vit.plots.labels import fitted
from small_vit.plots.patches import assemble, unit_image

_WIDTH = 12.0


def attention_scores(model, images):
    """Return every block's attention probabilities for `images`.

    Args:
        model: A classifier with `TransformerBlock`s, of any family.
        images: `(batch, height, width, channels)`, of the model's input shape.

    Returns:
        For each block float32 `(batch, heads, tokens, tokens)`; a row is for a query and sums to 1.

    Raises:
        InputError: if the model has no block.
    """
    blocks = _blocks(model)
    tokens = keras.Model(model.inputs[0], model.get_layer("encoder").output)(images, training=False)
    scores = []
    for block in blocks:
        scores.append(_numpy(block.attention_scores(tokens)))
        tokens = block(tokens, training=False)
    return scores


def attention_rollout(scores):
    """Trace attention through all blocks back to the input tokens of the first block.

    Heads are averaged. Shortcut and attention of a block count half each.

    Args:
        scores: For each block `(batch, heads, tokens, tokens)`.

    Returns:
        `(batch, tokens, tokens)`; a row is for an output token and sums to 1.

    Source: Abnar and Zuidema, arXiv 2005.00928, section 3.
    """
    tokens = scores[0].shape[-1]
    rollout = np.eye(tokens)
    for block_scores in scores:
        mixed = block_scores.mean(axis=1) + np.eye(tokens)
        rollout = mixed / mixed.sum(axis=-1, keepdims=True) @ rollout
    return rollout


def attention_received(scores, class_token):
    """Return the attention that each patch receives; 1 is an even share.

    Args:
        scores: `(…, tokens, tokens)`, rows sum to 1.
        class_token: Whether the first token is a class token. If so, the attention is from the
            class token, else the mean over all tokens.

    Returns:
        `(…, patches)`.
    """
    received = scores[..., 0, 1:] if class_token else scores.mean(axis=-2)
    return received * scores.shape[-1]


def plot_attention(model, image, class_names=None):
    """Draw an image, the attention rollout over it, and a map for each head of each block.

    Maps show the attention that each patch receives: from the class token if the model has one,
    else the mean over all tokens. 1 is an even share.

    Args:
        model: A classifier with `TransformerBlock`s, of any family.
        image: uint8, of the shape that the model takes.
        class_names: Names of the classes, for the prediction. Default: "class 0", …

    Returns:
        The figure.

    Raises:
        InputError: if the image does not fit the model, or the model has no block.
    """
    if image.dtype != np.uint8 or image.shape != tuple(model.input_shape[1:]):
        raise InputError(
            f"The model takes uint8 images of shape {tuple(model.input_shape[1:])}. "
            f"Received: {image.dtype} {image.shape}."
        )
    scores = attention_scores(model, image[np.newaxis])
    encoder = model.get_layer("encoder")
    rows, columns = encoder.num_patches
    rollout = attention_received(attention_rollout(scores)[0], encoder.class_token)
    maps = np.stack([attention_received(block[0], encoder.class_token) for block in scores], axis=1)
    maps = maps.reshape(*maps.shape[:2], rows, columns, 1)  # (heads, blocks, rows, columns, 1)

    extent, of_tokens = _extents(model)
    figure, (image_axes, rollout_axes, maps_axes) = _attention_panels(extent, maps)
    shown = unit_image(image)
    _show_image(image_axes, extent, np.broadcast_to(shown, (*shown.shape[:2], 3)))
    image_axes.set_title(_prediction(model, image, class_names), fontsize=10)
    # A pale grey picture underneath leaves the colours of the overlay readable.
    pale = 0.3 + 0.7 * shown.mean(axis=-1, keepdims=True)
    _show_image(rollout_axes, extent, np.broadcast_to(pale, (*shown.shape[:2], 3)))
    _overlay(rollout_axes, of_tokens, rollout.reshape(rows, columns))
    rollout_axes.set_title("attention rollout", fontsize=10)
    _show_maps(maps_axes, maps)
    source = "the class token" if encoder.class_token else "all tokens"
    maps_axes.set_title(f"attention from {source}", fontsize=10)
    return figure


def learns_temperature(model):
    """Return whether the blocks of a model learn the temperature of their softmax."""
    blocks = transformer_blocks(model)
    return bool(blocks) and all(block.temperature != "none" for block in blocks)


def temperatures(model):
    """Return the divisor of the attention scores of each block, before the softmax.

    Args:
        model: A classifier with `TransformerBlock`s and learned temperatures of either form.

    Returns:
        For each block `(1,)` or `(heads,)`.

    Raises:
        InputError: if the model learns no temperature.
    """
    blocks = _blocks(model)
    if not learns_temperature(model):
        raise InputError(
            "The model learns no temperature (temperature='none'): its scores are always "
            f"divided by sqrt(key_dim) = {math.sqrt(blocks[0].key_dim):.4g}."
        )
    return [_numpy(block.attention.score_divisor()) for block in blocks]


def plot_temperatures(models):
    """Draw the learned temperature of each block against the fixed sqrt(key_dim).

    Both forms are drawn as divisors of the scores: below the dashed line attention is sharper than
    before training. With a temperature per head, points are the heads and the line is their mean.

    Args:
        models: A classifier as for `temperatures`, or a dict of them by name.

    Returns:
        The figure.

    Raises:
        InputError: if a model learns no temperature.
    """
    if isinstance(models, keras.Model):
        models = {"learned": models}
    figure, axes = _temperature_axes("Softmax temperature", "block")
    for color, (name, model) in zip(line_colors(len(models)), models.items(), strict=True):
        values = temperatures(model)
        blocks = np.arange(1, len(values) + 1)
        axes.plot(blocks, [at.mean() for at in values], color=color, marker="o", label=name)
        if len(values[0]) > 1:
            heads = np.repeat(blocks, len(values[0]))
            axes.scatter(heads, np.concatenate(values), color=color, s=12, alpha=0.5)
    for key_dim in sorted({_blocks(model)[0].key_dim for model in models.values()}):
        fixed = math.sqrt(key_dim)
        axes.axhline(fixed, color="0.35", linestyle="--", label=f"fixed, √{key_dim} = {fixed:.3g}")
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def plot_temperature_history(history):
    """Draw each block's temperature, the mean over its heads, over the epochs.

    Args:
        history: List of one dict per epoch with `epoch` and `temperature_1`, `temperature_2`, …,
            the divisors of the scores of each block.

    Returns:
        The figure.

    Raises:
        InputError: if the history has no temperatures.
    """
    names = [name for name in history[0] if name.startswith("temperature_")] if history else []
    if not names:
        raise InputError("There is nothing to draw: the run's history holds no temperatures.")
    figure, axes = _temperature_axes("Softmax temperature over training", "epoch")
    epochs = [row["epoch"] for row in history]
    # Blocks have an order, and these colours show it.
    colors = colormaps["viridis"](np.linspace(0, 0.9, len(names)))
    for name, color in zip(names, colors, strict=True):
        block = name.removeprefix("temperature_")
        axes.plot(epochs, [row[name] for row in history], "o-", ms=3, color=color, label=block)
    figure.legend(loc="outside right upper", frameon=False, title="block")
    return figure


def _temperature_axes(title, x_label):
    figure = Figure(figsize=(6.5, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=11)
    axes.set_xlabel(x_label)
    axes.set_ylabel("divisor of the attention scores")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure, axes


def _blocks(model):
    blocks = transformer_blocks(model)
    if not blocks:
        raise InputError("The model has no transformer block, so there is no attention to draw.")
    return blocks


def _numpy(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


def _prediction(model, image, class_names):
    probabilities = _numpy(ops.softmax(model(image[np.newaxis], training=False)))[0]
    best = int(probabilities.argmax())
    name = f"class {best}" if class_names is None else fitted(class_names[best], 100, 10)
    return f"predicted: {name}, {probabilities[best]:.0%}"


def tokenization_of(model):
    """Return the layer that cuts a model's patches; None if its tokens are made by convolutions."""
    layers = (each for each in model.layers if isinstance(each, ShiftedPatchTokenization))
    return next(layers, None)


def _extents(model):
    """(left, right, bottom, top) of the image, and of its tokens, each as large as a stride."""
    rows, columns = model.get_layer("encoder").num_patches
    layer = tokenization_of(model)
    if layer is None:  # Convolutions divide the image evenly.
        return (0, columns, rows, 0), (0, columns, rows, 0)
    height, width = layer.input.shape[1:3]
    top, left = ((p - s) / 2 for p, s in zip(layer.patch_size, layer.stride, strict=True))
    bottom, right = top + rows * layer.stride[0], left + columns * layer.stride[1]
    return (0, width, height, 0), (left, right, bottom, top)


def _attention_panels(extent, maps):
    """Make panels of equal height for image, rollout and maps."""
    _, width, height, _ = extent
    heads, blocks, rows, columns, _ = maps.shape
    ratios = [width / height, width / height, blocks * columns / (heads * rows)]
    # The height at which panels of these shapes fill the width; colour bars take about 2 inches.
    size = (_WIDTH, min(max((_WIDTH - 2) / sum(ratios), 2), 6) + 0.6)
    figure = Figure(figsize=size, layout="compressed")
    return figure, figure.subplots(1, 3, width_ratios=ratios)


def _show_image(axes, extent, image):
    axes.imshow(image, extent=extent, interpolation="nearest")
    axes.set_axis_off()


def _overlay(axes, extent, values):
    """Draw a value per token over the image."""
    limits = axes.axis()
    drawn = axes.imshow(values, extent=extent, cmap="inferno", alpha=0.55, interpolation="bilinear")
    axes.axis(limits)
    _colorbar(axes, drawn)


def _show_maps(axes, maps):
    heads, blocks, rows, columns, _ = maps.shape
    gap = max(1, round(min(rows, columns) / 6))
    down, right = rows + gap, columns + gap
    grid = assemble(maps, (down, right))
    # One scale for all maps. The brightest 1 % saturates, so that one patch cannot darken the rest.
    drawn = axes.imshow(
        grid[..., 0], cmap="inferno", vmin=0, vmax=np.percentile(maps, 99), interpolation="nearest"
    )
    axes.set_xticks(np.arange(blocks) * right + (columns - 1) / 2, range(1, blocks + 1))
    axes.set_yticks(np.arange(heads) * down + (rows - 1) / 2, range(1, heads + 1))
    axes.tick_params(length=0)
    axes.set_xlabel("block")
    axes.set_ylabel("head")
    axes.spines[:].set_visible(False)
    _colorbar(axes, drawn, extend="max")


def _colorbar(axes, drawn, **kwargs):
    """Add a colour bar as high as its panel, and equally wide in all panels."""
    left, right, bottom, top = axes.axis()
    ratio = (bottom - top) / (right - left)
    bar = axes.inset_axes((1 + 0.03 * ratio, 0, 0.035 * ratio, 1))
    axes.figure.colorbar(drawn, cax=bar, label="× an even share", **kwargs)
