"""Classifiers that are built and trained in no time."""

import pytest
from transformers_checkpoint import write_checkpoint

from small_vit import create_vit_classifier
from small_vit.models.registry import model_config

TINY = {
    "image_size": 8,
    "patch_size": 4,
    "projection_dim": 8,
    "num_layers": 1,
    "num_heads": 2,
    "key_dim": 4,
    "pooling": "mean",
    "head_units": (),
}
# A small model of each family, and how many features it gives.
FIELDS = {
    "vit": TINY,
    "cct": {"image_size": 8, "projection_dim": 8, "num_layers": 1, "num_heads": 2},
    "resnet": {"image_size": 8},
    "pretrained": {"image_size": 8},
}
FEATURES = {"vit": 8, "cct": 8, "resnet": 64, "pretrained": 12}
NO_DROPOUT = dict.fromkeys(("dropout", "attention_dropout", "head_dropout"), 0.0)


def tiny_classifier(input_shape=(8, 8, 1), num_classes=10, **fields):
    """Return `create_vit_classifier` of `TINY`, with these of its fields changed."""
    return create_vit_classifier(
        input_shape=input_shape, num_classes=num_classes, **(TINY | fields)
    )


def tiny_config(kind, folder):
    """Return a config of `FIELDS`; the weights of a pretrained one are put into `folder`."""
    if kind != "pretrained":
        return model_config(kind, **FIELDS[kind])
    pytest.importorskip("keras_hub")
    return model_config(kind, **FIELDS[kind], preset=write_checkpoint(folder))
