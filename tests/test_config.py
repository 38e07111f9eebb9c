"""The configs: checks, JSON, differences, names of arms."""

import json
import re

import numpy as np
import pytest

from small_vit import (
    AugmentConfig,
    DataConfig,
    ExperimentConfig,
    ModelConfig,
    TrainConfig,
    create_vit_classifier,
)
from small_vit.config import as_pair
from small_vit.errors import InputError
from small_vit.recipes import FAST, PUBLISHED, RECIPES
from small_vit.sweeps.named import training_images

pytestmark = pytest.mark.any_backend


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_survives_json(name):
    config = RECIPES[name]()

    assert ExperimentConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_pairs_and_tuples_survive_json():
    config = ExperimentConfig(
        model=ModelConfig(image_size=(32, 48), patch_size=(4, 6), stride=(2, 3), head_units=(8,)),
        train=TrainConfig(decay_exclude=("bias", "norm")),
    )

    read = ExperimentConfig.from_dict(json.loads(json.dumps(config.to_dict())))

    assert read == config
    assert hash(read) == hash(config)


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_carries_its_name(name):
    assert RECIPES[name]().recipe == name


@pytest.mark.parametrize("name", FAST)
def test_a_fast_recipe_trains_a_small_model_in_batches_of_one_size(name):
    config = RECIPES[name]()
    assert config.model.arm == "spt+lsa"
    assert create_vit_classifier(config.model).count_params() < 3e6
    assert training_images(config) % config.train.batch_size == 0


def test_published_results_belong_to_recipes_and_arms():
    for recipe, dataset, arm in PUBLISHED:
        model = RECIPES[recipe]().model
        assert RECIPES[recipe]().data.dataset == dataset
        assert arm in (model.arm, model.vanilla().arm)


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        (ModelConfig, "shifts", "diagonals"),
        (ModelConfig, "position_embedding", "rotary"),
        (ModelConfig, "embedding_initializer", "zeros"),
        (ModelConfig, "temperature", True),
        (ModelConfig, "temperature_form", "log"),
        (ModelConfig, "pooling", "max"),
        (ModelConfig, "kernel_initializer", "he_normal"),
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
        (ModelConfig, "projection_dim", 0),
        (ModelConfig, "num_layers", -1),
        (ModelConfig, "num_heads", 0),
        (ModelConfig, "key_dim", 0),
        (ModelConfig, "mlp_ratio", 0.0),
        (ModelConfig, "shift_ratio", -0.1),
        (ModelConfig, "shift_ratio", 0.16),
        (ModelConfig, "head_units", (4, 0)),
        (ModelConfig, "head_units", (4, "a")),
        (ModelConfig, "head_units", 6),
        (ModelConfig, "attention_dropout", 1.0),
        (ModelConfig, "dropout", -0.1),
        (ModelConfig, "dropout", "a"),
        (ModelConfig, "stochastic_depth", 1.0),
        (ModelConfig, "head_dropout", 2.0),
        (ModelConfig, "norm_epsilon", 0.0),
        (ModelConfig, "patch_size", (6, 73)),
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
    with pytest.raises(InputError, match="size"):
        ModelConfig(**{field: size})


def test_replace_is_checked_like_a_new_config():
    with pytest.raises(InputError, match="pooling"):
        ModelConfig().replace(pooling="max")


def test_unknown_field():
    with pytest.raises(TypeError, match="patch_sise"):
        ModelConfig().replace(patch_sise=4)


@pytest.mark.parametrize(
    ("fields", "arm"),
    [
        ({}, "spt+lsa"),
        ({"temperature": "none", "diagonal_mask": False}, "spt"),
        ({"shifts": "none"}, "norm+lsa"),
        ({"shifts": "none", "patch_norm": False}, "lsa"),
        ({"shifts": "none", "patch_norm": False, "diagonal_mask": False}, "temperature"),
        ({"shifts": "none", "patch_norm": False, "temperature": "none"}, "mask"),
        ({"shifts": "cardinal", "temperature": "none"}, "spt+mask"),
        ({"temperature": "head", "diagonal_mask": False}, "spt+temperature"),
    ],
)
def test_arm(fields, arm):
    assert ModelConfig(**fields).arm == arm


def test_vanilla_switches_off_the_papers_parts_and_nothing_else():
    config = ModelConfig(projection_dim=32, pooling="mean")

    vanilla = config.vanilla()

    assert vanilla.arm == "vanilla"
    assert not vanilla.patch_norm
    parts = {"shifts", "patch_norm", "temperature", "diagonal_mask"}
    assert vanilla.replace(**{part: getattr(config, part) for part in parts}) == config


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
