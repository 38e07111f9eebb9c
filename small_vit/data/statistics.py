"""The mean and variance that images are normalised by."""

import numpy as np


def channel_statistics(split):
    """Return each channel's mean and variance over the images of a split, read part by part.

    Args:
        split: `Split`.

    Returns:
        Two lists of floats, in units of pixel values.
    """
    values = np.arange(256)
    counts = np.zeros((split.image_shape[-1], 256))
    # Small parts: bincount makes eight bytes of each value.
    for images in split.parts(part_bytes=4 * 2**20):
        for channel, of_channel in enumerate(counts):
            of_channel += np.bincount(images[..., channel].ravel(), minlength=256)
    shares = counts / counts.sum(axis=1, keepdims=True)
    means = [float(share @ values) for share in shares]
    variances = [
        float(share @ (values - mean) ** 2) for share, mean in zip(shares, means, strict=True)
    ]
    return means, variances
