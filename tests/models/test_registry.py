"""What the rest of the package knows of a model family."""

import numpy as np
import pytest

from layer_harness import to_numpy
from small_vit.errors import InputError
from small_vit.models.registry import (
    FAMILIES,
    backbone_and_head,
    build_classifier,
    count_multiply_adds,
    model_config,
)

IMAGE_SHAPE = (8, 8, 3)


SIZES = {
    "vit": {"image_size": 8, "patch_size": 4, "projection_dim": 8, "num_layers": 1},
    "cct": {"image_size": 8, "projection_dim": 8, "num_layers": 1, "temperature": "layer"},
    "resnet": {"image_size": 8},
}


@pytest.fixture(params=SIZES)
def config(request):
    """A small model of each family that needs no weights from elsewhere."""
    return model_config(request.param, **SIZES[request.param])


def test_each_family_is_here_or_pretrained():
    assert set(FAMILIES) - set(SIZES) == {"pretrained"}


def test_a_classifier_gives_logits_of_raw_images(config):
    model = build_classifier(config, IMAGE_SHAPE, 5)
    images = np.random.default_rng(0).integers(0, 256, (2, *IMAGE_SHAPE), dtype="uint8")
    assert to_numpy(model(images)).shape == (2, 5)
    assert model.get_layer("normalization") is not None


@pytest.mark.parametrize("pooling", ["flatten", "class_token", "mean"])
def test_backbone_and_head_are_the_classifier(pooling):
    config = model_config("vit", image_size=8, patch_size=4, num_layers=1, pooling=pooling)
    model = build_classifier(config, IMAGE_SHAPE, 5)
    images = np.random.default_rng(0).integers(0, 256, (2, *IMAGE_SHAPE)).astype("float32")

    backbone, head = backbone_and_head(model)

    assert (backbone.name, head.name) == ("backbone", "head")
    features = backbone(images)
    assert features.ndim == 2
    np.testing.assert_allclose(to_numpy(head(features)), to_numpy(model(images)), atol=1e-5)
    parts = len(backbone.trainable_weights) + len(head.trainable_weights)
    assert parts == len(model.trainable_weights)


def test_the_plain_version_has_no_part_of_the_paper(config):
    family = FAMILIES[config.kind]
    if not family.plain:
        pytest.skip("It has no part of the paper.")
    plain = build_classifier(config.replace(**family.plain), IMAGE_SHAPE, 5)
    assert plain.count_params() < build_classifier(config, IMAGE_SHAPE, 5).count_params()


def test_a_family_counts_its_work(config):
    assert count_multiply_adds(config, IMAGE_SHAPE, 5).total > 0


def test_an_unknown_kind_is_refused():
    with pytest.raises(InputError, match="kind must be one of vit"):
        model_config("resnext")
