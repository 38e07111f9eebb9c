"""Models by their published names, with the published sizes."""

import math
import re
from pathlib import Path

import keras
import pytest

from small_vit.errors import InputError
from small_vit.models.registry import (
    NAMED,
    build_classifier,
    count_multiply_adds,
    model_config,
    named_model,
)

pytestmark = pytest.mark.any_backend


def vit_parameters(config, classes):
    """Weights of a ViT with class token on RGB images, from its published description."""
    dim, patch = config.projection_dim, config.patch_size
    tokens = (config.image_size // patch) ** 2 + 1
    hidden = int(config.mlp_ratio * dim)
    attention = 4 * (dim * dim + dim)
    mlp = dim * hidden + hidden + hidden * dim + dim
    block = 2 * 2 * dim + attention + mlp
    patches = 3 * patch**2 * dim + dim
    around = patches + dim + tokens * dim + 2 * dim
    return around + config.num_layers * block + dim * classes + classes


@pytest.mark.parametrize(
    ("name", "published"), [("ViT-Ti/16", 5_717_416), ("vit-s/16", 22_050_664)]
)
def test_the_built_models_have_the_published_size(name, published):
    config = named_model(name)
    model = build_classifier(config, (224, 224, 3), 1000)
    assert sum(math.prod(variable.shape) for variable in model.trainable_variables) == published
    assert vit_parameters(config, 1000) == published


@pytest.mark.parametrize(
    ("name", "millions", "published"),
    [
        ("ViT-B/16", 86, 86_567_656),
        ("ViT-B/32", 88, 88_224_232),
        ("ViT-L/16", 307, 304_326_632),
        ("ViT-H/14", 632, 632_045_800),
    ],
)
def test_the_large_models_have_the_published_size(name, millions, published):
    """In the paper's table rounded, and with the head of another number of classes."""
    counted = vit_parameters(named_model(name), 1000)
    assert counted == published
    assert counted == pytest.approx(millions * 1e6, rel=0.02)


def test_a_named_vit_is_the_plain_one():
    config = named_model("vit-ti/4").replace(image_size=8, num_layers=1)
    model = build_classifier(config, (8, 8, 3), 3)
    tokens = model.get_layer("encoder").output
    assert tokens.shape == (None, 5, 192)
    assert not any("temperature" in each.path for each in model.trainable_variables)
    block = model.get_layer("block_0")
    assert (block.num_heads, block.key_dim, block.mlp_units) == (3, 64, 768)
    (dropouts,) = {
        layer.rate for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dropout)
    }
    assert dropouts == 0


def test_spt_and_lsa_are_switches_of_a_named_vit():
    config = named_model("vit-ti/4").replace(
        image_size=8, num_layers=1, shifts="diagonal", patch_norm=True, temperature="head"
    )
    names = [each.path for each in build_classifier(config, (8, 8, 3), 3).trainable_variables]
    assert any(name.endswith("temperature") for name in names)


@pytest.mark.parametrize("name", [name.replace("/P", "/16") for name in NAMED])
def test_each_name_is_a_model_in_upper_and_lower_case(name):
    config = named_model(name)
    assert named_model(name.upper()) == config
    assert config == model_config(config.kind, **vars(config))


def test_names_say_what_they_are():
    assert named_model("vit") == model_config("vit")
    assert [named_model(f"resnet{depth}").depth for depth in (18, 20, 56, 110)] == [
        *(18, 20, 56, 110)
    ]
    cct = named_model("cct-2/3x2")
    assert (cct.num_layers, cct.kernel_size, cct.conv_layers) == (2, 3, 2)
    cct = named_model("cct-7/3x1")
    assert (cct.num_layers, cct.kernel_size, cct.conv_layers) == (7, 3, 1)


def test_models_of_convolutions_take_the_size_of_the_images():
    sizes = {name: named_model(name.replace("/P", "/4"), (20, 24)).image_size for name in NAMED}
    own = {"vit": 72, "pretrained": named_model("pretrained").image_size}
    own |= {name: 224 for name in NAMED if name.endswith("/P")}
    assert sizes == dict.fromkeys(NAMED, (20, 24)) | own


@pytest.mark.parametrize(
    "name", ["resnet34", "vit-b", "vit-b/P", "vit-g/14", "vit-b/", "vit-b/16x16", "", "vit-b/-1"]
)
def test_an_unknown_name_is_refused_with_the_known_ones(name):
    with pytest.raises(InputError, match=r"one of vit, vit-ti/P, .*resnet18.*Received"):
        named_model(name)


@pytest.mark.parametrize("name", ["vit-b/0", "vit-b/225"])
def test_a_patch_must_fit_the_image(name):
    with pytest.raises(InputError):
        named_model(name)


PAGE = Path(__file__).parents[2] / "docs/models.md"
ROWS = re.findall(r"\| `(\S+)` \| ([\d,]+) \| ([\d,.]+) M \|", PAGE.read_text(encoding="utf-8"))


def test_the_page_has_all_names_of_one_size():
    assert [name for name, *_ in ROWS] == [
        name for name in NAMED if "/P" not in name and name != "pretrained"
    ]


@pytest.mark.parametrize(("name", "flops"), [(name, flops) for name, _, flops in ROWS])
def test_the_pages_flops_are_those_counted(name, flops):
    counted = 2 * count_multiply_adds(named_model(name), (32, 32, 3), 100).total
    assert f"{counted / 1e6:,.1f}" == flops


@pytest.mark.parametrize("name", ["resnet20", "cct-2/3x2"])
def test_the_pages_parameters_are_those_of_the_model(name):
    model = build_classifier(named_model(name), (32, 32, 3), 100)
    counted = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    assert (name, f"{counted:,}") in [row[:2] for row in ROWS]
