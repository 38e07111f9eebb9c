"""Multiply-adds of a compact convolutional transformer, counted from its shapes."""

from dataclasses import dataclass

from small_vit.models.parts import Parts


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
    dim, layers = model.projection_dim, model.num_layers
    rows, columns = model.convolutions.feature_size(model.image_size)
    tokens = rows * columns
    return MultiplyAdds(
        tokenizer=model.convolutions.multiply_adds(model.image_size, image_shape[-1]),
        attention_projections=layers * 4 * tokens * dim**2,
        attention=layers * 2 * tokens**2 * dim,
        mlp=layers * 2 * tokens * dim * model.mlp_units,
        pooling=2 * tokens * dim,
        head=dim * num_classes,
    )
