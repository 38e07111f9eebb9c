"""The mean and variance for normalising images."""

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
    # Small parts: bincount needs eight bytes for each value.
    for images in split.parts(part_bytes=4 * 2**20):
        for channel, channel_counts in enumerate(counts):
            channel_counts += np.bincount(images[..., channel].ravel(), minlength=256)
    shares = counts / counts.sum(axis=1, keepdims=True)
    means = [float(share @ values) for share in shares]
    variances = [
        float(share @ (values - mean) ** 2) for share, mean in zip(shares, means, strict=True)
    ]
    return means, variances
