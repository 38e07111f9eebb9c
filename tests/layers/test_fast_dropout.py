import keras
import numpy as np
import pytest
from keras import ops

import small_vit as sv


def dropped(layer, inputs):
    return ops.convert_to_numpy(layer(inputs, training=True))


def test_drops_its_rate_and_scales_the_rest():
    outputs = dropped(sv.FastDropout(0.25, seed=1), np.ones((200, 500), "float32"))

    assert set(np.unique(outputs)) == {0.0, np.float32(1 / 0.75)}
    assert (outputs == 0).mean() == pytest.approx(0.25, abs=0.007)


def test_inference_and_rate_zero_pass_through():
    inputs = np.ones((3, 4), "float32")

    assert (ops.convert_to_numpy(sv.FastDropout(0.5)(inputs)) == inputs).all()
    assert (dropped(sv.FastDropout(0.0), inputs) == inputs).all()


def test_draws_again_each_time_and_repeats_from_its_state():
    layer, inputs = sv.FastDropout(0.5, seed=3), np.ones((8, 64), "float32")
    state = ops.convert_to_numpy(layer.seed_generator.state)
    first, second = dropped(layer, inputs), dropped(layer, inputs)
    layer.seed_generator.state.assign(state)

    assert (first != second).any()
    assert (dropped(layer, inputs) == first).all()


def test_compiled_steps_draw_again():
    """The count of draws is state of the compiled step, not a constant of its trace."""
    weighed = keras.layers.Dense(1, kernel_initializer="ones")
    model = keras.Sequential([keras.Input((64,)), sv.FastDropout(0.5, seed=1), weighed])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    ones, zeros = np.ones((8, 64)), np.zeros((8, 1))
    # Means over the batches so far: they stay where each batch has the same loss.
    assert len({float(model.train_on_batch(ones, zeros)) for _ in range(3)}) == 3


def test_layers_without_a_seed_draw_apart():
    inputs = np.ones((8, 64), "float32")

    assert (dropped(sv.FastDropout(0.5), inputs) != dropped(sv.FastDropout(0.5), inputs)).any()


def test_noise_shape_is_shared_along_its_ones():
    layer = sv.FastDropout(0.5, noise_shape=(None, 1, 6), seed=4)
    outputs = dropped(layer, np.ones((5, 7, 6), "float32"))

    assert (outputs == outputs[:, :1]).all()
    assert (outputs[:, 0] != outputs[:1, 0]).any()


def test_mask_is_one_on_every_backend():
    outputs = dropped(sv.FastDropout(0.5, seed=7), np.ones((4, 8), "float32"))

    assert ["".join(row) for row in np.where(outputs > 0, "1", "0")] == [
        "01000100",
        "10110000",
        "01101110",
        "10010001",
    ]


def test_gradient_is_the_mask():
    layer = sv.FastDropout(0.5, seed=5)
    model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(16, use_bias=False), layer])
    model.layers[0].kernel.assign(np.eye(16))
    model.compile(keras.optimizers.SGD(1.0), loss=lambda y, outputs: ops.sum(outputs))
    state = ops.convert_to_numpy(layer.seed_generator.state)

    model.train_on_batch(np.ones((1, 16)), np.zeros((1, 16)))

    layer.seed_generator.state.assign(state)
    mask = dropped(layer, np.ones((1, 16), "float32"))[0]
    moved = np.eye(16) - ops.convert_to_numpy(model.layers[0].kernel)
    np.testing.assert_allclose(moved, np.tile(mask, (16, 1)), atol=1e-6)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_rate_out_of_range_is_refused(rate):
    with pytest.raises(ValueError, match=r"rate"):
        sv.FastDropout(rate)
