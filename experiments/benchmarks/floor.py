"""The minimum work of a train step: matrix products, and bytes moved through memory."""

from small_vit.models.registry import count_multiply_adds

from .workload import IMAGE_SHAPE, NUM_CLASSES


def step_flops(model, batch_size):
    """Return the floating-point operations of one train step's matrix products.

    A product in the forward pass needs two in the backward pass, one for each factor. The images
    need no gradient, so the first product needs only one, unless a norm with weights is before it.
    """
    counts = count_multiply_adds(model, IMAGE_SHAPE, NUM_CLASSES)
    unneeded = 0 if model.patch_norm else counts.patch_projection
    return 2 * batch_size * (3 * counts.total - unneeded)


def step_bytes(parameters, batch_size):
    """Return the minimum number of bytes that a train step moves through memory.

    Weights and both of Adam's moments are read and written in float32, and the images are read.
    Everything else could stay in a cache.
    """
    height, width, channels = IMAGE_SHAPE
    return 6 * 4 * parameters + batch_size * height * width * channels
