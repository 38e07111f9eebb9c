"""The augmentation layers of an `AugmentConfig`."""

import numpy as np

from small_vit.augment import AutoAugment, Mix, PaddedRandomCrop, RandomErasing


def raw_augmentation(augment, mean, variance):
    """Return the augmentation of raw images, before they are normalised.

    Args:
        augment: `AugmentConfig`.
        mean, variance: Those of each channel, in units of pixel values.

    Returns:
        `(layers, mix)`: a list of layers on images, and a `Mix` or None.
    """
    layers = []
    if augment.crop_padding:
        layers.append(PaddedRandomCrop(augment.crop_padding))
    if augment.auto_augment:
        layers.append(AutoAugment())
    if augment.erasing:
        fill = np.asarray(mean)
        if augment.erasing_fill == "raw_mean":
            # The paper's code erases normalised images and fills with the raw means (in 0..1).
            fill = fill + np.sqrt(variance) * fill / 255
        layers.append(RandomErasing(augment.erasing, fill=fill.tolist()))
    return layers, Mix(augment.mix) if augment.mix else None
