"""Multiply-adds of a compact convolutional transformer, counted from its shapes."""

from dataclasses import dataclass

from small_vit.models.cct.config import CHANNELS
from small_vit.models.parts import Parts
from small_vit.sizes import as_pair


@dataclass(frozen=True)
class MultiplyAdds(Parts):
    """Multiply-adds of the matrix products in one image's forward pass, part by part."""

    tokenizer: int
    attention_projections: int
    attention: int
    mlp: int
    pooling: int
    head: int


def count(model, image_shape, num_classes):
    """Count the multiply-adds of one image's forward pass from the shapes of a `CCTConfig`.

    Args:
        model: `CCTConfig`.
        image_shape: (height, width, channels) of the raw images.
        num_classes: Number of logits.

    Returns:
        `MultiplyAdds`.
    """
    rows, columns = as_pair(model.image_size)
    dim, layers = model.projection_dim, model.num_layers
    channels, tokenizer = image_shape[-1], 0
    for outputs in [CHANNELS] * (model.conv_layers - 1) + [dim]:
        rows, columns = _convolved(rows, model), _convolved(columns, model)
        tokenizer += rows * columns * model.kernel_size**2 * channels * outputs
        rows, columns = (rows + 1) // 2, (columns + 1) // 2
        channels = outputs
    tokens = rows * columns
    return MultiplyAdds(
        tokenizer=tokenizer,
        attention_projections=layers * 4 * tokens * dim**2,
        attention=layers * 2 * tokens**2 * dim,
        mlp=layers * 2 * tokens * dim * int(model.mlp_ratio * dim),
        pooling=2 * tokens * dim,
        head=dim * num_classes,
    )


def _convolved(side, model):
    return (side + 2 * model.padding - model.kernel_size) // model.stride + 1
