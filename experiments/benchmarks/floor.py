"""The floor under a train step: the arithmetic it must do and the bytes it must move."""

import itertools
from dataclasses import dataclass

from small_vit.config import as_pair
from small_vit.layers.shifted_patch_tokenization import SHIFT_DIRECTIONS

from .workload import IMAGE_SHAPE, NUM_CLASSES


@dataclass(frozen=True)
class MultiplyAdds:
    """Multiply-adds of the matrix products in one image's forward pass, part by part."""

    patch_projection: int
    attention_projections: int
    attention: int
    mlp: int
    head: int

    @property
    def total(self):
        """Their sum."""
        return (
            self.patch_projection
            + self.attention_projections
            + self.attention
            + self.mlp
            + self.head
        )


def count_multiply_adds(model, channels=IMAGE_SHAPE[-1], num_classes=NUM_CLASSES):
    """Count from the shapes of a `ModelConfig`.

    Returns:
        `MultiplyAdds`.
    """
    image, patch = as_pair(model.image_size), as_pair(model.patch_size)
    stride = patch if model.stride is None else as_pair(model.stride)
    rows, columns = ((image[i] - patch[i]) // stride[i] + 1 for i in (0, 1))
    patches = rows * columns
    copies = 1 + len(SHIFT_DIRECTIONS[model.shifts])
    tokens = patches + (model.pooling == "class_token")
    dim, inner = model.projection_dim, model.num_heads * model.key_dim
    features = patches * dim if model.pooling == "flatten" else dim
    widths = [features, *model.head_units, num_classes]
    return MultiplyAdds(
        patch_projection=patches * patch[0] * patch[1] * copies * channels * dim,
        attention_projections=model.num_layers * 4 * tokens * dim * inner,
        attention=model.num_layers * 2 * tokens**2 * inner,
        mlp=model.num_layers * 2 * tokens * dim * int(model.mlp_ratio * dim),
        head=sum(a * b for a, b in itertools.pairwise(widths)),
    )


def step_flops(model, batch_size):
    """Return the floating-point operations of one train step's matrix products.

    A product in the forward pass is two in the backward pass, one for either factor; the images
    need no gradient, so the first product is one only, unless a norm with weights lies before it.
    """
    counts = count_multiply_adds(model)
    unneeded = 0 if model.patch_norm else counts.patch_projection
    return 2 * batch_size * (3 * counts.total - unneeded)


def step_bytes(parameters, batch_size):
    """Return the fewest bytes one train step moves through memory.

    Weights and both of Adam's moments are read and written in float32, the images read; everything
    else could stay in a cache.
    """
    height, width, channels = IMAGE_SHAPE
    return 6 * 4 * parameters + batch_size * height * width * channels


def floor_seconds(flops, moved_bytes, matmul_flops_per_second, copy_bytes_per_second):
    """Return the seconds that no version of the step can beat: the larger of both floors."""
    return max(flops / matmul_flops_per_second, moved_bytes / copy_bytes_per_second)
