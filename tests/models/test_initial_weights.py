"""Fresh models start with the distributions that their references start with."""

import csv
import math
from pathlib import Path

import keras
import numpy as np
import pytest

from layer_harness import to_numpy
from small_vit import MultiHeadAttentionLSA, create_vit_classifier
from small_vit.recipes import RECIPES

# Fresh models of the Keras example's own code on TensorFlow 2.15: mean, standard deviation,
# smallest and largest value of each trainable variable over three seeds, in their order.
EXAMPLE = Path(__file__).parent / "keras_example_initial.csv"


def example_variables(arm):
    with EXAMPLE.open() as file:
        return [row for row in csv.DictReader(file) if row["arm"] == arm]


@pytest.mark.parametrize("recipe", ["keras-example", "keras-example-cosine"])
@pytest.mark.parametrize("arm", ["vanilla", "spt+lsa"])
def test_the_keras_examples_variables_start_as_in_its_own_code(arm, recipe):
    keras.utils.set_random_seed(0)
    model = create_vit_classifier(RECIPES[recipe]().model, vanilla=arm == "vanilla")
    published = example_variables(arm)

    assert len(model.trainable_variables) == len(published)
    for variable, row in zip(model.trainable_variables, published, strict=True):
        values, deviation = to_numpy(variable), float(row["std"])
        name = variable.path
        assert ("x".join(map(str, values.shape)) or "scalar") == row["shape"], name
        # The spread of a sample's standard deviation is at most std / sqrt(2n).
        tolerance = 5 * deviation / math.sqrt(2 * values.size) + 1e-5
        assert abs(values.std() - deviation) < tolerance, name
        tolerance = 8 * deviation / math.sqrt(values.size) + 1e-5
        assert abs(values.mean() - float(row["mean"])) < tolerance, name
        # A uniform sample of n comes within 10 / n of its limits.
        limit = float(row["max"]) - float(row["min"])
        tolerance = 10 / values.size * limit + 1e-5
        assert abs(values.max() - float(row["max"])) < tolerance, name
        assert abs(values.min() - float(row["min"])) < tolerance, name


@pytest.mark.parametrize("vanilla", [True, False])
@pytest.mark.parametrize("recipe", ["paper", "paper-lr3e-3"])
def test_the_papers_kernels_are_normal_with_the_fans_of_its_code(recipe, vanilla):
    """Query, key and value are one 192 -> 576 kernel there; all others are theirs alone."""
    keras.utils.set_random_seed(0)
    model = create_vit_classifier(RECIPES[recipe]().model, vanilla=vanilla)
    patch = 48 if vanilla else 240
    expected = {
        "tokenization/projection/kernel": math.sqrt(2 / (patch + 192)),
        "encoder/class_token": 1.0,
        "encoder/position_embedding": 1.0,
        "block_0/attention/query/kernel": math.sqrt(2 / 768),
        "block_3/attention/key/kernel": math.sqrt(2 / 768),
        "block_8/attention/value/kernel": math.sqrt(2 / 768),
        "block_8/attention/attention_output/kernel": math.sqrt(2 / 384),
        "block_8/mlp_hidden/kernel": math.sqrt(2 / 576),
        "block_8/mlp_output/kernel": math.sqrt(2 / 576),
        "logits/kernel": math.sqrt(2 / 292),
    }
    variables = {variable.path: to_numpy(variable) for variable in model.trainable_variables}
    for name, deviation in expected.items():
        values = variables[name]
        assert abs(values.std() / deviation - 1) < 5 / math.sqrt(2 * values.size), name
    # Not cut off at two standard deviations, as Keras's glorot_normal is.
    kernel = variables["block_0/mlp_hidden/kernel"]
    assert abs((np.abs(kernel) > 2 * kernel.std()).mean() - 0.0455) < 0.005
    assert all((values == 0).all() for name, values in variables.items() if name.endswith("/bias"))


def kernels(attention_fans, **kwargs):
    keras.utils.set_random_seed(0)
    layer = MultiHeadAttentionLSA(4, 16, attention_fans=attention_fans, **kwargs)
    layer.build((None, 5, 32), (None, 5, 32))
    projections = (layer.query_dense, layer.key_dense, layer.value_dense, layer.output_dense)
    return [to_numpy(projection.kernel) for projection in projections]


# Kernels of (32, 4, 16) and (4, 16, 32). By axes the fans are 32 and 64; Keras 2 counts
# 32 * 4 and 32 * 16, and 4 * 16 and 4 * 32.
AXES, KERAS2_IN, KERAS2_OUT, JOINT = 96, 640, 192, 224


@pytest.mark.parametrize(
    ("attention_fans", "fans"),
    [
        ("axes", (AXES, AXES, AXES, AXES)),
        ("keras2", (KERAS2_IN, KERAS2_IN, KERAS2_IN, KERAS2_OUT)),
        ("keras2_query_key", (KERAS2_IN, KERAS2_IN, AXES, AXES)),
        ("keras2_value", (AXES, AXES, KERAS2_IN, AXES)),
        ("keras2_output", (AXES, AXES, AXES, KERAS2_OUT)),
        ("joint_qkv", (JOINT, JOINT, JOINT, AXES)),
    ],
)
def test_fans_of_attentions_kernels(attention_fans, fans):
    for kernel, sum_of_fans in zip(kernels(attention_fans), fans, strict=True):
        limit = math.sqrt(6 / sum_of_fans)
        assert 0.99 * limit < np.abs(kernel).max() <= limit * (1 + 1e-6)


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
def test_the_scale_of_any_fan_mode_is_kept(mode):
    initializer = keras.initializers.VarianceScaling(3.0, mode, "untruncated_normal")
    fan = {"fan_in": 128, "fan_out": 512, "fan_avg": 320}[mode]
    query = kernels("keras2", kernel_initializer=initializer)[0]
    assert abs(query.std() / math.sqrt(3.0 / fan) - 1) < 0.06


def test_a_users_attention_starts_as_kerass_own():
    keras.utils.set_random_seed(0)
    keras_own = keras.layers.MultiHeadAttention(4, 16)
    keras_own.build((None, 5, 32), (None, 5, 32))
    ours = MultiHeadAttentionLSA(4, 16)
    ours.build((None, 5, 32), (None, 5, 32))
    for name in ("query_dense", "key_dense", "value_dense", "output_dense"):
        spans = [np.abs(to_numpy(getattr(each, name).kernel)).max() for each in (keras_own, ours)]
        assert abs(spans[0] / spans[1] - 1) < 0.02


def test_the_four_kernels_are_drawn_each_by_itself():
    first, second, third, _ = kernels("keras2")
    assert (first != second).any() and (second != third).any()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"attention_fans": "keras1"}, "`attention_fans` is one of .*'keras1'"),
        ({"attention_fans": "keras2", "kernel_initializer": "zeros"}, "scales by fans.*'zeros'"),
    ],
)
def test_bad_fans(kwargs, message):
    with pytest.raises(ValueError, match=message):
        MultiHeadAttentionLSA(4, 16, **kwargs)
