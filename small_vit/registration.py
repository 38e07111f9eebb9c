"""Imports everything that is registered with Keras under the package "small_vit"."""

import small_vit.augment
import small_vit.layers
import small_vit.training.losses
import small_vit.training.optimizers
import small_vit.training.schedules  # noqa: F401
