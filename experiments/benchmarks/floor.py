"""The floor under a train step: the arithmetic it must do and the bytes it must move."""

from small_vit.models.registry import count_multiply_adds

from .workload import IMAGE_SHAPE, NUM_CLASSES


def step_flops(model, batch_size):
    """Return the floating-point operations of one train step's matrix products.

    A product in the forward pass is two in the backward pass, one for either factor; the images
    need no gradient, so the first product is one only, unless a norm with weights lies before it.
    """
    counts = count_multiply_adds(model, IMAGE_SHAPE, NUM_CLASSES)
    unneeded = 0 if model.patch_norm else counts.patch_projection
    return 2 * batch_size * (3 * counts.total - unneeded)


def step_bytes(parameters, batch_size):
    """Return the fewest bytes one train step moves through memory.

    Weights and both of Adam's moments are read and written in float32, the images read; everything
    else could stay in a cache.
    """
    height, width, channels = IMAGE_SHAPE
    return 6 * 4 * parameters + batch_size * height * width * channels
