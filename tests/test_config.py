"""The configs: checks, JSON, differences, names of arms."""

import json
import re

import numpy as np
import pytest

from small_vit import (
    AugmentConfig,
    DataConfig,
    ExperimentConfig,
    TrainConfig,
    ViTConfig,
    create_vit_classifier,
)
from small_vit.errors import InputError
from small_vit.models.registry import model_config, named_model
from small_vit.recipes import PUBLISHED, RECIPES, changes_from_recipe, vanilla
from small_vit.recipes.fine_tune import starting_from
from small_vit.sizes import as_pair
from small_vit.sweeps.named import training_images

pytestmark = pytest.mark.any_backend


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_survives_json(name):
    config = RECIPES[name]()

    assert ExperimentConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_pairs_and_tuples_survive_json():
    config = ExperimentConfig(
        model=ViTConfig(image_size=(32, 48), patch_size=(4, 6), stride=(2, 3), head_units=(8,)),
        train=TrainConfig(decay_exclude=("bias", "norm")),
    )

    read = ExperimentConfig.from_dict(json.loads(json.dumps(config.to_dict())))

    assert read == config
    assert hash(read) == hash(config)


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_carries_its_name(name):
    assert RECIPES[name]().recipe == name


@pytest.mark.parametrize("name", ["fast-60", "fast-70"])
def test_a_fast_recipe_trains_a_small_model_in_batches_of_one_size(name):
    config = RECIPES[name]()
    assert config.arm == "spt+lsa"
    assert create_vit_classifier(config.model).count_params() < 3e6
    assert training_images(config) % config.train.batch_size == 0


def test_published_results_belong_to_recipes_and_arms():
    for recipe, dataset, arm in PUBLISHED:
        config = RECIPES[recipe]()
        assert config.data.dataset == dataset
        assert arm in (config.arm, vanilla(config).arm)


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        (ViTConfig, "shifts", "diagonals"),
        (ViTConfig, "position_embedding", "rotary"),
        (ViTConfig, "embedding_initializer", "zeros"),
        (ViTConfig, "temperature", True),
        (ViTConfig, "temperature_form", "log"),
        (ViTConfig, "pooling", "max"),
        (ViTConfig, "kernel_initializer", "he_normal"),
        (DataConfig, "validation_split", "random"),
        (TrainConfig, "schedule", "cosine"),
        (TrainConfig, "decay_rule", "l2"),
        (TrainConfig, "precision", "int8"),
        (TrainConfig, "strategy", "cuda"),
    ],
)
def test_choice_is_checked(section, field, value):
    with pytest.raises(InputError, match=rf"{field} is one of .*{value!r}"):
        section(**{field: value})


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        (ViTConfig, "projection_dim", 0),
        (ViTConfig, "num_layers", -1),
        (ViTConfig, "num_heads", 0),
        (ViTConfig, "key_dim", 0),
        (ViTConfig, "mlp_ratio", 0.0),
        (ViTConfig, "shift_ratio", -0.1),
        (ViTConfig, "shift_ratio", 0.16),
        (ViTConfig, "head_units", (4, 0)),
        (ViTConfig, "head_units", (4, "a")),
        (ViTConfig, "head_units", 6),
        (ViTConfig, "attention_dropout", 1.0),
        (ViTConfig, "dropout", -0.1),
        (ViTConfig, "dropout", "a"),
        (ViTConfig, "stochastic_depth", 1.0),
        (ViTConfig, "head_dropout", 2.0),
        (ViTConfig, "norm_epsilon", 0.0),
        (ViTConfig, "patch_size", (6, 73)),
        (AugmentConfig, "rotation", -0.1),
        (AugmentConfig, "translation", -0.1),
        (AugmentConfig, "zoom", 1.0),
        (DataConfig, "validation_fraction", 0.0),
        (DataConfig, "validation_fraction", 1.0),
        (DataConfig, "train_examples", 0),
        (TrainConfig, "epochs", 0),
        (TrainConfig, "epochs", 2.5),
        (TrainConfig, "epochs", True),
        (TrainConfig, "weight_decay", float("inf")),
        (TrainConfig, "batch_size", 0),
        (TrainConfig, "learning_rate", 0.0),
        (TrainConfig, "weight_decay", -1.0),
        (TrainConfig, "seed", -1),
        (TrainConfig, "warmup_fraction", 1.0),
        (TrainConfig, "label_smoothing", 1.0),
        (TrainConfig, "decay_exclude", ("kernel",)),
    ],
)
def test_range_is_checked(section, field, value):
    received = re.escape(repr(value))
    with pytest.raises(InputError, match=rf"{field} must be .*Received: {received}\.$"):
        section(**{field: value})


@pytest.mark.parametrize(
    ("size", "pair"),
    [(6, (6, 6)), ((4, 5), (4, 5)), ([4, 5], (4, 5)), (np.int64(6), (6, 6))],
)
def test_size_is_a_pair(size, pair):
    assert as_pair(size) == pair


@pytest.mark.parametrize(
    "size",
    [
        0,
        (4, -1),
        (4,),
        (4, 4, 4),
        (4.0, 4),
        "44",
        7.5,
        True,
    ],
)
@pytest.mark.parametrize("field", ["image_size", "patch_size", "stride"])
def test_size_is_checked(field, size):
    with pytest.raises(InputError, match=f"{field} must be a positive int"):
        ViTConfig(**{field: size})


def test_replace_is_checked_like_a_new_config():
    with pytest.raises(InputError, match="pooling"):
        ViTConfig().replace(pooling="max")


def test_unknown_field():
    with pytest.raises(TypeError, match="patch_sise"):
        ViTConfig().replace(patch_sise=4)


def test_a_recipes_arm_is_a_name_whatever_is_switched():
    config = RECIPES["cpu"]().replace(model={"shifts": "none"})
    assert config.arm == "spt+lsa"
    assert changes_from_recipe(config) == ["model.shifts: diagonal -> none"]
    assert vanilla(config).arm == "vanilla"
    assert changes_from_recipe(vanilla(RECIPES["cpu"]())) == []


@pytest.mark.parametrize("recipe", ["fine-tune", "linear-probe"])
def test_a_model_that_starts_from_trained_weights_is_compared_with_that_of_the_weights(recipe):
    source = model_config("cct", dropout=0.3)
    config = starting_from(RECIPES[recipe](), "runs/birds", source)
    start = "train.init_from: None -> birds"
    assert changes_from_recipe(config, source) == [start]
    larger = config.replace(model={"image_size": 48})
    assert sorted(changes_from_recipe(larger, source)) == ["model.image_size: 32 -> 48", start]
    assert changes_from_recipe(larger) == [start]


def test_a_model_of_another_family_is_told_by_its_name_and_its_own_changes():
    model = named_model("resnet56", 24)
    config = RECIPES["cpu"]().replace(model=model, train={"epochs": 3})
    changes = ["model.kind: vit -> resnet", "model.image_size: 32 -> 24", "model.depth: 20 -> 56"]
    assert sorted(changes_from_recipe(config)) == sorted([*changes, "train.epochs: 8 -> 3"])
    of_recipe = RECIPES["folder"]().replace(model=named_model("resnet20", 64))
    assert changes_from_recipe(of_recipe) == ["model.kind: vit -> resnet"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "sgd"}, "decay_rule must be 'scaled' for optimizer='sgd'"),
        (
            {"optimizer": "schedule-free", "decay_rule": "scaled", "schedule": "warmup_cosine"},
            "schedule must be 'constant' for optimizer='schedule-free'",
        ),
        (
            {
                "optimizer": "schedule-free",
                "decay_rule": "scaled",
                "schedule": "constant",
                "keep": "best",
            },
            "keep must be 'last' with ema_momentum or schedule-free",
        ),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1"),
        ({"clip_norm": -1.0}, "clip_norm must be at least 0"),
    ],
)
def test_settings_of_optimizers_go_together(changes, message):
    with pytest.raises(InputError, match=message):
        TrainConfig(**changes)


def test_an_unknown_model_family_is_refused():
    written = RECIPES["cpu"]().to_dict()
    assert written["model"]["kind"] == "vit"
    written["model"]["kind"] = "resnext"
    message = r"kind must be one of vit, cct, resnet, pretrained\. Received: 'resnext'"
    with pytest.raises(InputError, match=message):
        ExperimentConfig.from_dict(written)


def test_vanilla_switches_off_the_papers_parts_and_nothing_else():
    config = ViTConfig(projection_dim=32, pooling="mean")

    plain = config.vanilla()

    assert not plain.patch_norm
    parts = {"shifts", "patch_norm", "temperature", "diagonal_mask"}
    assert plain.replace(**{part: getattr(config, part) for part in parts}) == config


def test_replace_changes_single_fields_of_a_section():
    config = ExperimentConfig().replace(
        recipe="mine", train={"epochs": 3}, data=DataConfig("digits")
    )

    assert config == ExperimentConfig(
        recipe="mine", train=TrainConfig(epochs=3), data=DataConfig(dataset="digits")
    )


def test_differences_name_each_field():
    config = ExperimentConfig()
    other = config.replace(recipe="b", model={"patch_size": 4}, train={"epochs": 10})

    assert config.differences(other) == [
        "recipe: custom -> b",
        "model.patch_size: 6 -> 4",
        "train.epochs: 50 -> 10",
    ]
    assert config.differences(config) == []


@pytest.mark.parametrize(
    "setting",
    [{"fit": "pad"}, {"group_by": "x"}, {"skip_unreadable": True}, {"test_fraction": 0.2}],
)
def test_settings_of_folders_are_refused_for_other_datasets(setting):
    with pytest.raises(InputError, match="it is for folders of images"):
        DataConfig(**setting)
    DataConfig(dataset="folder", **setting)


def test_settings_that_would_do_nothing_or_twice_the_same_are_refused():
    with pytest.raises(InputError, match="sam_adaptive must be left out without sam_rho"):
        TrainConfig(sam_adaptive=True)
    with pytest.raises(InputError, match="together they correct twice"):
        TrainConfig(balanced_sampling=True, class_weights=("balanced",))


@pytest.mark.parametrize("kind", ["vit", "cct"])
def test_an_mlp_has_as_many_units_as_its_ratio_says(kind):
    config = model_config(kind, projection_dim=100, num_heads=2, mlp_ratio=2.3)
    assert config.mlp_units == 230


def test_no_class_weights_are_none():
    assert TrainConfig(class_weights=("none",)) == TrainConfig()
