"""Vision Transformers trained from scratch on small datasets, in Keras 3.

Importing the package registers its layers with Keras, so that a saved model loads.
"""

from small_vit.augment import AutoAugment, Mix, RandomAffine, RandomCrop, RandomErasing
from small_vit.config import (
    AugmentConfig,
    DataConfig,
    ExperimentConfig,
    ModelConfig,
    TrainConfig,
)
from small_vit.layers import (
    ClassTokenPooling,
    HashedDropout,
    MultiHeadAttentionLSA,
    PatchEncoder,
    Resize,
    ShiftedPatchTokenization,
    StochasticDepth,
    TransformerBlock,
)
from small_vit.model import create_vit_classifier
from small_vit.optimizers import AdamW
from small_vit.schedules import WarmUpCosine

__version__ = "0.1.0"

__all__ = [
    "AdamW",
    "AugmentConfig",
    "AutoAugment",
    "ClassTokenPooling",
    "DataConfig",
    "ExperimentConfig",
    "HashedDropout",
    "Mix",
    "ModelConfig",
    "MultiHeadAttentionLSA",
    "PatchEncoder",
    "RandomAffine",
    "RandomCrop",
    "RandomErasing",
    "Resize",
    "ShiftedPatchTokenization",
    "StochasticDepth",
    "TrainConfig",
    "TransformerBlock",
    "WarmUpCosine",
    "create_vit_classifier",
]
