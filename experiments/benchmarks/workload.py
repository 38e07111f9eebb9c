"""What every contender of a round trains: the same model on the same random images."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from small_vit.config import AugmentConfig, ExperimentConfig, ModelConfig, TrainConfig
from small_vit.recipes import cpu, paper

ModelName = Literal["example", "paper", "cpu", "tiny"]
Arm = Literal["vanilla", "spt+lsa"]
Precision = Literal["float32", "bfloat16"]
Augmentation = Literal["none", "example", "paper"]

IMAGE_SHAPE = (32, 32, 3)
NUM_CLASSES = 100

MODELS = {
    # The Keras example's: 72 px, 144 tokens, a head of 21 million parameters.
    "example": ModelConfig(),
    # Lee, Lee and Song's for CIFAR.
    "paper": paper().model,
    # The recipe's for two cores.
    "cpu": cpu().model,
    # To try the benchmark itself in seconds.
    "tiny": ModelConfig(
        image_size=32,
        patch_size=8,
        projection_dim=16,
        num_layers=1,
        num_heads=2,
        key_dim=8,
        head_units=(16,),
    ),
}


AUGMENTATIONS = {
    "none": AugmentConfig(flip=False, rotation=0.0, zoom=0.0),
    # Flip, rotation and zoom.
    "example": AugmentConfig(),
    # Crop, AutoAugment, erasing, CutMix and MixUp.
    "paper": paper().augment,
}


@dataclass(frozen=True)
class Workload:
    """One thing to train, the same for all contenders.

    Attributes:
        model: Name in `MODELS`.
        arm: With the paper's two parts or without.
        batch_size: Images a step.
        precision: Type of the arithmetic.
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

    def __str__(self):
        return (
            f"{self.model} {self.arm}, batch {self.batch_size}, {self.precision}, "
            f"augmentation: {self.augmentation}"
        )


def with_common_head(model):
    """Return a `ModelConfig` cut to what the models of every library have.

    That is a class token and one linear layer on it, no GELU after the MLP's output, no skipped
    branches: with it the contenders do equal arithmetic.
    """
    return model.replace(
        pooling="class_token",
        head_units=(),
        head_dropout=0.0,
        mlp_output_activation=False,
        stochastic_depth=0.0,
    )


def head_name(model):
    """Name the head of a `ModelConfig`, for a row."""
    return "+".join([model.pooling, *(str(units) for units in model.head_units)])
