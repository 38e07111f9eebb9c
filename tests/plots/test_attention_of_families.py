"""Attention of models whose tokens come from convolutions, in pictures and in a run's report."""

import keras
import numpy as np
import pytest

from small_vit.data import load_dataset
from small_vit.models.registry import build_classifier, model_config
from small_vit.plots import attention_rollout, attention_scores, plot_attention
from small_vit.plots.attention import attention_received
from small_vit.report.model_section import model_section
from small_vit.results.run_directory import RunDirectory

pytestmark = pytest.mark.any_backend

SMALL = {"image_size": 8, "projection_dim": 8, "num_layers": 1, "num_heads": 2}
HISTORY = [{"epoch": 1, "temperature_1": 2.0}]


def classifier(kind, **fields):
    return build_classifier(model_config(kind, **(SMALL | fields)), (8, 8, 1), 10)


def test_attention_in_a_cct_is_drawn_on_the_grid_of_its_convolutions():
    model = classifier("cct", image_size=(8, 12))
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 1), "uint8")

    image_axes, rollout_axes, maps_axes = plot_attention(model, image).axes

    # The image is as wide as its tokens, which divide it evenly.
    assert image_axes.images[0].get_extent() == [0, 6, 4, 0]
    overlay = rollout_axes.images[1]
    assert overlay.get_extent() == [0, 6, 4, 0]
    scores = attention_scores(model, image[np.newaxis])
    assert [block.shape for block in scores] == [(1, 2, 24, 24)]
    rollout = attention_received(attention_rollout(scores)[0], class_token=False)
    np.testing.assert_allclose(overlay.get_array(), rollout.reshape(4, 6), rtol=1e-5)
    assert maps_axes.get_title() == "attention from all tokens"


def test_attention_in_a_hybrid_lies_on_its_feature_map():
    model = classifier("vit", conv_layers=1, patch_size=2, key_dim=4, pooling="class_token")
    image = np.zeros((8, 8, 1), "uint8")
    image_axes, rollout_axes, maps_axes = plot_attention(model, image).axes
    assert image_axes.images[0].get_extent() == [0, 4, 4, 0]
    assert rollout_axes.images[1].get_extent() == [0, 4, 4, 0]
    assert rollout_axes.images[1].get_array().shape == (2, 2)
    assert maps_axes.get_title() == "attention from the class token"


def section(model, folder):
    return model_section(
        RunDirectory(folder), model, load_dataset("digits"), np.eye(1, 10), HISTORY
    )


@pytest.mark.parametrize(
    ("kind", "fields", "pictures"),
    [
        (
            "cct",
            {"temperature": "layer", "diagonal_mask": True},
            ["attention.png", "temperature_history.png"],
        ),
        ("vit", {"conv_layers": 1, "patch_size": 2, "temperature": "none"}, ["attention.png"]),
    ],
)
def test_a_report_shows_what_the_model_has(kind, fields, pictures, tmp_path):
    told = section(classifier(kind, **fields), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == pictures
    assert all(f"({name})" in told for name in pictures)
    assert "What a patch sees" not in told


def test_a_report_of_a_model_without_these_parts_is_silent(tmp_path):
    inputs = keras.Input((8, 8, 1))
    outputs = keras.layers.Dense(10)(keras.layers.Flatten()(inputs))
    assert section(keras.Model(inputs, outputs), tmp_path) == ""
