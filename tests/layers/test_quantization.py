"""Quantized and LoRA-adapted models: as right as Keras's own layers, and they load again."""

import keras
import numpy as np
import pytest

from layer_harness import close, normal, randomize
from small_vit import MultiHeadAttentionLSA, ShiftedPatchTokenization, TransformerBlock

TOKENS, DIM, HEADS, KEY_DIM = 5, 8, 2, 4

pytestmark = pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize")


def attention_model(layer):
    tokens = keras.Input((TOKENS, DIM))
    return randomize(keras.Model(tokens, layer(tokens, tokens)))


def attention_pair():
    """Ours with the paper's parts off, and Keras's own with the same weights."""
    ours = attention_model(
        MultiHeadAttentionLSA(HEADS, KEY_DIM, temperature="none", diagonal_mask=False)
    )
    keras_own = attention_model(keras.layers.MultiHeadAttention(HEADS, KEY_DIM))
    keras_own.set_weights(ours.get_weights())
    return ours, keras_own


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_quantized_attention_is_keras_quantized_attention(mode):
    ours, keras_own = attention_pair()
    tokens = normal((3, TOKENS, DIM))
    before = ours.predict(tokens, verbose=0)

    for model in (ours, keras_own):
        model.quantize(mode)

    after = ours.predict(tokens, verbose=0)
    close(after, keras_own.predict(tokens, verbose=0))
    assert np.abs(after - before).max() > 1e-4
    projections = ours.layers[-1].query_dense, ours.layers[-1].output_dense
    assert all(projection.quantization_mode == mode for projection in projections)


def test_lora_attention_is_keras_lora_attention():
    ours, keras_own = attention_pair()
    tokens = normal((3, TOKENS, DIM))
    before = ours(tokens)

    for model in (ours, keras_own):
        for projection in (model.layers[-1].query_dense, model.layers[-1].output_dense):
            projection.enable_lora(2)
            projection.lora_kernel_b.assign(normal(projection.lora_kernel_b.shape, seed=1))
            projection.lora_kernel_a.assign(normal(projection.lora_kernel_a.shape, seed=2))

    close(ours(tokens), keras_own(tokens))
    assert np.abs(np.subtract(ours(tokens), before)).max() > 1e-2
    assert len(ours.trainable_variables) == len(keras_own.trainable_variables)


def image_model():
    """Every layer that holds projections of its own, at two depths."""
    images = keras.Input((8, 12, 3))
    tokens, _ = ShiftedPatchTokenization(patch_size=4, projection_dim=DIM, name="spt")(images)
    tokens = TransformerBlock(HEADS, KEY_DIM, mlp_units=12, name="block")(tokens)
    tokens = MultiHeadAttentionLSA(HEADS, KEY_DIM, name="attention")(tokens, tokens)
    logits = keras.layers.Dense(3, name="logits")(tokens)
    return randomize(keras.Model(images, logits))


def quantizable_sublayers(model):
    block, attention = model.get_layer("block"), model.get_layer("attention")
    return [
        model.get_layer("spt").projection,
        block.mlp_hidden,
        block.mlp_output,
        *(
            getattr(each, f"{name}_dense")
            for each in (block.attention, attention)
            for name in ("query", "key", "value", "output")
        ),
    ]


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_a_quantized_model_loads_again(mode, suffix, tmp_path):
    model, images = image_model(), normal((2, 8, 12, 3))
    model.quantize(mode)
    expected = model.predict(images, verbose=0)

    model.save(tmp_path / f"model.{suffix}")
    loaded = keras.saving.load_model(tmp_path / f"model.{suffix}")

    close(loaded.predict(images, verbose=0), expected, 1e-6)
    assert {each.quantization_mode for each in quantizable_sublayers(loaded)} == {mode}


def test_a_part_of_a_model_may_be_quantized(tmp_path):
    model, images = image_model(), normal((2, 8, 12, 3))
    model.quantize("int8", filters="mlp")
    expected = model.predict(images, verbose=0)

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")

    close(loaded.predict(images, verbose=0), expected, 1e-6)
    modes = [each.quantization_mode for each in quantizable_sublayers(loaded)]
    assert modes == [None, "int8", "int8", *[None] * 8]


def test_a_model_with_lora_saves_what_it_computes(tmp_path):
    model, images = image_model(), normal((2, 8, 12, 3))
    query = model.get_layer("block").attention.query_dense
    query.enable_lora(2)
    query.lora_kernel_b.assign(normal(query.lora_kernel_b.shape))
    expected = model.predict(images, verbose=0)

    model.save(tmp_path / "model.keras")

    close(keras.saving.load_model(tmp_path / "model.keras").predict(images, verbose=0), expected)
