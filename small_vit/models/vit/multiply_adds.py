"""Multiply-adds of a Vision Transformer, counted from its shapes."""

import itertools
from dataclasses import dataclass

from small_vit.layers.shifted_patch_tokenization import SHIFT_DIRECTIONS
from small_vit.models.convolutions import CHANNELS
from small_vit.models.parts import Parts
from small_vit.sizes import as_pair


@dataclass(frozen=True)
class MultiplyAdds(Parts):
    """Multiply-adds of the matrix products in one image's forward pass, part by part."""

    convolutions: int
    patch_projection: int
    attention_projections: int
    attention: int
    mlp: int
    head: int


def count(model, image_shape, num_classes):
    """Count the multiply-adds of one image's forward pass from the shapes of a `ViTConfig`.

    Args:
        model: `ViTConfig`.
        image_shape: (height, width, channels) of the raw images.
        num_classes: Number of logits.

    Returns:
        `MultiplyAdds`.
    """
    size, patch = model.feature_size, as_pair(model.patch_size)
    stride = patch if model.stride is None else as_pair(model.stride)
    rows, columns = ((size[i] - patch[i]) // stride[i] + 1 for i in (0, 1))
    channels = CHANNELS if model.conv_layers else image_shape[-1]
    patches = rows * columns
    copies = 1 + len(SHIFT_DIRECTIONS[model.shifts])
    tokens = patches + (model.pooling == "class_token")
    dim, inner = model.projection_dim, model.num_heads * model.key_dim
    features = patches * dim if model.pooling == "flatten" else dim
    widths = [features, *model.head_units, num_classes]
    return MultiplyAdds(
        convolutions=model.convolutions.multiply_adds(model.image_size, image_shape[-1]),
        patch_projection=patches * patch[0] * patch[1] * copies * channels * dim,
        attention_projections=model.num_layers * 4 * tokens * dim * inner,
        attention=model.num_layers * 2 * tokens**2 * inner,
        mlp=model.num_layers * 2 * tokens * dim * model.mlp_units,
        head=sum(a * b for a, b in itertools.pairwise(widths)),
    )
