"""Augmentation on the device: layers that change each image, or mix a batch, at random.

All compile with XLA, keep their random state in a `keras.random.SeedGenerator`, and do nothing
outside training.
"""

from small_vit.augment.auto_augment import AutoAugment
from small_vit.augment.mix import Mix
from small_vit.augment.padded_random_crop import PaddedRandomCrop
from small_vit.augment.random_affine import RandomAffine
from small_vit.augment.random_erasing import RandomErasing

__all__ = ["AutoAugment", "Mix", "PaddedRandomCrop", "RandomAffine", "RandomErasing"]
