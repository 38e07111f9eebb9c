"""The published fine-tuning of a pretrained Vision Transformer on the Oxford-IIIT Pets."""

from small_vit.config import AugmentConfig, DataConfig, ExperimentConfig, TrainConfig
from small_vit.models.registry import model_config


def pets():
    """A new head on ViT-B/16 of ImageNet, for the 37 breeds of the Oxford-IIIT Pets.

    Source: the model card huggingface.co/frankl1/vit-base-oxford-iiit-pets, one of many from the
    same tutorial: google/vit-base-patch16-224, Adam at 2e-4 falling to zero, batch 16, 5 epochs;
    94.18 % top-1 of its evaluation images. Its 370 steps are 80 % of 7,390 images.
    Command: `small-vit train pets.csv --recipe pets` (docs/pretrained.md).
    Device and time: not yet run.
    Expected: not known.

    The card does not say which weights were trained. Its training loss ends close to that of
    validation, as that of a new head alone does, so the backbone is frozen here; `--freeze` without
    a name trains all.

    Deviations: the rate falls as a cosine, not linearly. The images are divided anew, the same part
    of each breed.
    """
    return ExperimentConfig(
        recipe="pets",
        arm="pretrained",
        model=model_config("pretrained", preset="hf://google/vit-base-patch16-224"),
        augment=AugmentConfig(flip=False, rotation=0.0, zoom=0.0),
        data=DataConfig(dataset="folder", validation_split="stratified", fit="squash"),
        train=TrainConfig(
            epochs=5,
            batch_size=16,
            learning_rate=2e-4,
            schedule="warmup_cosine",
            warmup_fraction=0.0,
            adam_epsilon=1e-8,
            weight_decay=0.0,
            decay_rule="scaled",
            freeze=("backbone",),
        ),
    )
