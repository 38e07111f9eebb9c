"""The workload of all contenders: the same model on the same random images."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from small_vit.config import AugmentConfig, ExperimentConfig, TrainConfig
from small_vit.models.vit.config import ViTConfig
from small_vit.recipes import cpu, paper

ModelName = Literal["example", "paper", "cpu", "tiny"]
Arm = Literal["vanilla", "spt+lsa"]
Precision = Literal["float32", "bfloat16"]
Augmentation = Literal["none", "example", "paper"]

IMAGE_SHAPE = (32, 32, 3)
NUM_CLASSES = 100

MODELS = {
    "example": ViTConfig(),  # the Keras example's: 72 px, 144 tokens, 22 million weights
    "paper": paper().model,  # Lee, Lee and Song's for CIFAR
    "cpu": cpu().model,  # the recipe's for two cores
    # For a quick trial of the benchmark.
    "tiny": ViTConfig(image_size=32, patch_size=8, key_dim=8, num_layers=1, head_units=(16,)),
}
AUGMENTATIONS = {
    "none": AugmentConfig(flip=False, rotation=0.0, zoom=0.0),
    "example": AugmentConfig(),  # flip, rotation and zoom
    "paper": paper().augment,  # crop, AutoAugment, erasing, CutMix and MixUp
}


@dataclass(frozen=True)
class Workload:
    """A model and its training, the same for all contenders.

    Attributes:
        model: Name in `MODELS`.
        arm: With SPT and LSA, or without.
        batch_size: Images per step.
        precision: Type of the computation.
        augmentation: Name in `AUGMENTATIONS`.
        steps: Train steps in one measurement.
    """

    model: ModelName
    arm: Arm
    batch_size: int
    precision: Precision
    augmentation: Augmentation
    steps: int

    @property
    def config(self):
        """The model, augmentation and training as an `ExperimentConfig`."""
        model = MODELS[self.model]
        return ExperimentConfig(
            model=model.vanilla() if self.arm == "vanilla" else model,
            augment=AUGMENTATIONS[self.augmentation],
            train=TrainConfig(batch_size=self.batch_size, precision=self.precision),
        )

    def data(self):
        """Return random uint8 images and int32 labels for one measurement's steps."""
        generator = np.random.default_rng(0)
        examples = self.steps * self.batch_size
        images = generator.integers(0, 256, (examples, *IMAGE_SHAPE), dtype="uint8")
        return images, generator.integers(0, NUM_CLASSES, examples, dtype="int32")
