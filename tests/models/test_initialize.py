"""Initial weights from a trained model: what is loaded, resampled, new and refused."""

from functools import cache

import numpy as np
import pytest
from trained import randomize_all, undrawn

from layer_harness import close, logits_of, normal, to_numpy
from small_vit.errors import InputError
from small_vit.models.initialize import load_initial_weights, resample_positions
from small_vit.models.registry import build_classifier, model_config
from small_vit.models.resnet.config import STAGES
from tiny import TINY

VIT = TINY | {"pooling": "class_token"}
MODELS = {
    "vit": ("vit", VIT),
    "vanilla": ("vit", VIT | {"shifts": "none", "patch_norm": False}),
    "cct": (
        "cct",
        {"image_size": 8, "projection_dim": 8, "num_layers": 1, "num_heads": 2},
    ),
    "resnet": ("resnet", {"image_size": 8, "depth": 20}),
}


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """Networks of few layers compile in no time."""
    monkeypatch.setitem(STAGES, 20, ((4, 1), (6, 1)))


def made(name, classes=5, channels=3, **changes):
    """A model of `MODELS` with random weights: config and model."""
    kind, fields = MODELS[name]
    config = model_config(kind, **(fields | changes))
    with undrawn():
        return config, build_classifier(config, (8, 8, channels), classes)


@cache
def trained(name, classes=5, channels=3, **changes):
    config, model = made(name, classes, channels, **changes)
    return config, randomize_all(model)


def values_of(model):
    return {variable.path: to_numpy(variable) for variable in model.weights}


def bilinear(table, rows, columns):
    """A table `(old rows, old columns, dim)` at positions from corner to corner."""
    result = np.zeros((rows, columns, table.shape[-1]))
    for i in range(rows):
        for j in range(columns):
            y = i * (table.shape[0] - 1) / max(1, rows - 1)
            x = j * (table.shape[1] - 1) / max(1, columns - 1)
            for row, down in ((int(y), 1 - y % 1), (int(y) + 1, y % 1)):
                for column, right in ((int(x), 1 - x % 1), (int(x) + 1, x % 1)):
                    if down * right:
                        result[i, j] += down * right * table[row, column]
    return result


@pytest.mark.parametrize(
    ("grid", "new"),
    [
        ((4, 4), (7, 7)),
        ((14, 14), (24, 24)),
        ((2, 3), (5, 4)),
        ((5, 4), (2, 3)),
        ((1, 3), (4, 6)),
        ((7, 3), (7, 21)),
    ],
)
@pytest.mark.parametrize("first", [0, 1])
def test_positions_are_interpolated_from_corner_to_corner(grid, new, first):
    positions = normal((first + grid[0] * grid[1], 6))
    found = resample_positions(positions, grid, new, first)
    np.testing.assert_array_equal(found[:first], positions[:first])
    expected = bilinear(positions[first:].reshape(*grid, 6), *new)
    np.testing.assert_allclose(found[first:].reshape(*new, 6), expected, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_with_the_same_classes_is_loaded_whole(name):
    source_config, source = trained(name)
    config, model = made(name)
    told = load_initial_weights(model, config, source, source_config, same_classes=True)
    expected = values_of(source)
    for path, value in values_of(model).items():
        if not path.startswith("normalization"):
            np.testing.assert_array_equal(value, expected[path])
    assert not (told.resampled or told.summed or told.new or told.unused)
    assert set(told.loaded) == {path for path in values_of(model) if "normalization" not in path}
    if name == "resnet":
        assert "block_1_0_second_norm/moving_variance" in told.loaded


@pytest.mark.parametrize("name", MODELS)
def test_other_classes_have_a_new_last_layer_of_zeros(name):
    source_config, source = trained(name)
    config, model = made(name, classes=3)
    told = load_initial_weights(model, config, source, source_config, same_classes=False)
    expected = values_of(source)
    for path, value in values_of(model).items():
        if path.startswith("logits"):
            assert not value.any()
        elif not path.startswith("normalization"):
            np.testing.assert_array_equal(value, expected[path])
    assert set(told.new) == set(told.unused) == {"logits/kernel", "logits/bias"}


def test_as_many_other_classes_have_a_new_last_layer_too():
    source_config, source = trained("resnet")
    config, model = made("resnet")
    told = load_initial_weights(model, config, source, source_config, same_classes=False)
    assert set(told.new) == {"logits/kernel", "logits/bias"}
    assert not to_numpy(model.get_layer("logits").kernel).any()


@pytest.mark.parametrize(
    ("old", "new", "grids"), [(8, (12, 8), ((2, 2), (3, 2))), ((4, 16), 8, ((1, 4), (2, 2)))]
)
def test_positions_follow_the_grid_of_patches(old, new, grids):
    source_config, source = trained("vit", image_size=old)
    config, model = made("vit", image_size=new)
    told = load_initial_weights(model, config, source, source_config, same_classes=True)
    path = "encoder/position_embedding"
    assert told.resampled == (path,)
    assert path not in told.loaded and not told.new and not told.unused
    before, after = values_of(source)[path], values_of(model)[path]
    np.testing.assert_array_equal(after[0], before[0])
    expected = bilinear(before[1:].reshape(*grids[0], -1), *grids[1])
    np.testing.assert_allclose(after[1:].reshape(expected.shape), expected, atol=1e-5)


def test_behind_a_new_layer_of_the_head_all_is_new():
    changes = {"pooling": "flatten", "head_units": (6, 4)}
    source_config, source = trained("vit", **changes)
    config, model = made("vit", image_size=12, **changes)
    told = load_initial_weights(model, config, source, source_config, same_classes=True)
    layers = ("head_0", "head_1", "logits")
    paths = {f"{layer}/{name}" for layer in layers for name in ("kernel", "bias")}
    assert set(told.new) == set(told.unused) == paths
    assert not to_numpy(model.get_layer("logits").kernel).any()


def test_a_head_of_other_layers_is_new():
    """Even where a layer of the same name has the same shape."""
    source_config, source = trained("vit", head_units=(8,))
    config, model = made("vit")
    told = load_initial_weights(model, config, source, source_config, same_classes=True)
    assert set(told.new) == {"logits/kernel", "logits/bias"}
    assert set(told.unused) == set(told.new) | {"head_0/kernel", "head_0/bias"}


@pytest.mark.parametrize("name", MODELS)
def test_grey_images_are_seen_as_the_same_images_in_colour(name):
    source_config, source = trained(name)
    config, model = made(name, channels=1)
    told = load_initial_weights(model, config, source, source_config, same_classes=True)
    grey = normal((2, 8, 8, 1))
    close(logits_of(model, grey), logits_of(source, np.repeat(grey, 3, axis=-1)), 1e-4)
    first = {"vit": "tokenization", "vanilla": "tokenization", "cct": "conv_0"}
    assert all(path.startswith(first.get(name, "stem_conv")) for path in told.summed)
    assert told.summed and not told.new and not told.unused


@pytest.mark.parametrize(
    ("of_source", "of_model", "message"),
    [
        ({}, {"num_layers": 2}, "num_layers must be that of init_from, 1"),
        (
            {},
            {"mlp_ratio": 3.0},
            r"block_0/mlp_hidden/kernel is of shape \(8, 24\) here and of shape \(8, 16\)",
        ),
        ({}, {"patch_size": 2}, r"patch_size must be that of init_from, 4: .* Received: 2\."),
        (
            {},
            {"temperature_form": "multiplier"},
            "temperature_form must be that of init_from, 'divisor': .* Received: 'multiplier'",
        ),
        ({}, {"temperature": "none"}, "temperature must be that of init_from, 'layer'"),
        ({}, {"diagonal_mask": False}, "diagonal_mask must be that of init_from, True"),
        ({}, {"patch_norm": False}, "patch_norm must be that of init_from, True"),
        ({"qkv_bias": True}, {"qkv_bias": False}, "qkv_bias must be that of init_from, True"),
        ({}, {"shifts": "cardinal"}, "shifts must be that of init_from, 'diagonal'"),
        ({}, {"pooling": "mean"}, r"encoder/position_embedding is of shape \(4, 8\) here"),
        ({"pooling": "mean"}, {}, r"encoder/class_token is of shape \(1, 1, 8\) here and missing"),
        ({"channels": 1}, {}, r"init_from must take images of 3 channels.*a model for 1\."),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_loaded(of_source, of_model, message):
    source_config, source = trained("vit", **of_source)
    config, model = made("vit", **of_model)
    before = values_of(model)
    with pytest.raises(InputError, match=message):
        load_initial_weights(model, config, source, source_config, same_classes=True)
    for path, value in values_of(model).items():
        np.testing.assert_array_equal(value, before[path])


def test_another_family_is_refused():
    source_config, source = trained("resnet")
    config, model = made("cct")
    with pytest.raises(InputError, match="kind must be that of init_from, 'resnet'"):
        load_initial_weights(model, config, source, source_config, same_classes=True)
