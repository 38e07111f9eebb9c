"""Multiply-adds of a residual network, counted from its shapes."""

from dataclasses import dataclass

from small_vit.models.parts import Parts
from small_vit.models.resnet.config import STAGES
from small_vit.sizes import as_pair


@dataclass(frozen=True)
class MultiplyAdds(Parts):
    """Multiply-adds of the matrix products in one image's forward pass, part by part."""

    stem: int
    blocks: int
    shortcuts: int
    head: int


def count(model, image_shape, num_classes):
    """Count the multiply-adds of one image's forward pass from the shapes of a `ResNetConfig`.

    Args:
        model: `ResNetConfig`.
        image_shape: (height, width, channels) of the raw images.
        num_classes: Number of logits.

    Returns:
        `MultiplyAdds`.
    """
    stages = STAGES[model.depth]
    rows, columns = as_pair(model.image_size)
    width = stages[0][0]
    if model.stem == "small":
        stem = rows * columns * 3 * 3 * image_shape[-1] * width
    else:
        rows, columns = _half(rows), _half(columns)
        stem = rows * columns * 7 * 7 * image_shape[-1] * width
        rows, columns = _half(rows), _half(columns)
    blocks = shortcuts = 0
    for stage, (channels, number) in enumerate(stages):
        if stage:
            rows, columns = _half(rows), _half(columns)
            if model.depth == 18:
                shortcuts += rows * columns * width * channels
        # Each block has two convolutions; the first one of the stage takes the stage before.
        products = width * channels + (2 * number - 1) * channels**2
        blocks += rows * columns * 3 * 3 * products
        width = channels
    return MultiplyAdds(stem, blocks, shortcuts, width * num_classes)


def _half(side):
    return (side + 1) // 2
