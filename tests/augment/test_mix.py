"""Mix: images and targets against loops, its shares and boxes against their distributions."""

import json
import math

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats

from layer_harness import BACKEND, close, compiled, normal, to_numpy
from small_vit import Mix
from small_vit.augment.mix import (
    beta_quantile,
    cutmix_box,
    draw_kept,
    draw_order,
    mix_images,
    mix_targets,
)
from small_vit.layers.counter_random import make_key

SIZE = (10, 14)


def one_hot(count, classes=7):
    return np.eye(classes, dtype="float32")[np.arange(count) % classes]


def kept_of(count, probability=1.0, mixup_alpha=1.0, cutmix_alpha=1.0):
    """`count` draws of what each pixel keeps, `(count, height, width)`."""
    draw = compiled(
        lambda step: draw_kept(make_key(0, step), SIZE, probability, mixup_alpha, cutmix_alpha)
    )
    return np.stack([to_numpy(draw(ops.convert_to_tensor(i)))[0, ..., 0] for i in range(count)])


def test_order_is_a_random_permutation():
    orders = [to_numpy(draw_order(make_key(0, step), 50)) for step in range(20)]

    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(50))
    assert len({tuple(order) for order in orders}) == 20
    # A random order leaves one image in its place on average.
    assert np.mean([(order == np.arange(50)).sum() for order in orders]) < 3


def test_mix_against_loops():
    images, targets = normal((6, *SIZE, 3)), one_hot(6)
    partners, kept = np.array([3, 0, 5, 1, 4, 2]), np.random.default_rng(0).uniform(size=SIZE)

    tensors = (images, partners.astype("int32"), kept[None, ..., None].astype("float32"))
    mixed_images = mix_images(*map(ops.convert_to_tensor, tensors))
    mixed_targets = mix_targets(targets, partners, share := kept.mean().astype("float32"))

    expected = np.zeros_like(images)
    for example, row, column in np.ndindex(6, *SIZE):
        own, other = images[[example, partners[example]], row, column]
        expected[example, row, column] = kept[row, column] * own + (1 - kept[row, column]) * other
    close(mixed_images, expected)
    close(mixed_targets, share * targets + (1 - share) * targets[partners])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.77, 0.999])
@pytest.mark.parametrize(("down", "right"), [(0.0, 0.99), (0.5, 0.5), (0.31, 0.04)])
def test_box_is_the_references(share, down, right):
    height, width = SIZE
    box = cutmix_box(
        *(ops.convert_to_tensor(each, "float32") for each in (share, down, right)), SIZE
    )

    cut = math.sqrt(1 - share)
    middle_y, middle_x = int(down * height), int(right * width)
    half_y, half_x = int(height * cut) // 2, int(width * cut) // 2
    expected = [
        max(middle_y - half_y, 0),
        min(middle_y + half_y, height),
        max(middle_x - half_x, 0),
        min(middle_x + half_x, width),
    ]
    assert [int(edge[0]) for edge in box] == expected


def test_cutmix_keeps_all_but_a_box():
    kept = kept_of(100, mixup_alpha=None)

    assert set(np.unique(kept)) == {0, 1}
    for mask in kept == 0:
        assert mask.sum() == mask.any(0).sum() * mask.any(1).sum()
    assert len({mask.tobytes() for mask in kept}) > 80


def test_mixup_keeps_a_share_that_is_uniform_for_alpha_one():
    kept = kept_of(1000, cutmix_alpha=None)

    assert (kept == kept[:, :1, :1]).all()
    assert stats.kstest(kept[:, 0, 0], "uniform").pvalue > 1e-3


def test_probability_and_equal_chance():
    kept = kept_of(2000, probability=0.5).reshape(2000, -1)

    # A box may come out empty: of one or no pixel's width before halving.
    by_mixup = ((kept > 0) & (kept < 1)).all(1).mean()
    by_cutmix = (kept == 0).any(1).mean()
    assert by_mixup == pytest.approx(0.25, abs=0.05)
    assert 0.17 < by_cutmix < 0.3
    assert (kept == 1).all(1).mean() == pytest.approx(1 - by_mixup - by_cutmix)


def test_never_and_always():
    assert (kept_of(20, probability=0.0) == 1).all()
    assert (kept_of(50, probability=1.0, cutmix_alpha=None) < 1).all()


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_beta_quantile(alpha):
    unit = np.linspace(0, 1 - 2**-24, 1001, dtype="float32")

    values = to_numpy(beta_quantile(ops.convert_to_tensor(unit), alpha))

    np.testing.assert_allclose(values, stats.beta.ppf(unit, alpha, alpha), atol=2e-3)


def mixed(layer, images, targets, training=True):
    return [to_numpy(each) for each in layer([images, targets], training=training)]


def test_targets_sum_to_one_and_weigh_the_area_that_is_kept():
    # Each image is its own number all over, so that pixels tell whose they are.
    images = np.broadcast_to(np.arange(7.0, dtype="float32")[:, None, None, None], (7, *SIZE, 3))
    layer = Mix(probability=1.0, mixup_alpha=None, seed=0)
    for _ in range(10):
        output, targets = mixed(layer, images, one_hot(7))

        area = np.stack([(output[..., 0] == label).mean((1, 2)) for label in range(7)], axis=1)
        close(targets, area)
        close(targets.sum(1), np.ones(7))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int32"])
def test_targets_of_any_type_are_mixed_in_float32(dtype):
    targets, partners, share = one_hot(6), np.array([3, 0, 5, 1, 4, 2]), np.float32(1 / 3)

    actual = mix_targets(ops.cast(targets, dtype), partners, share)

    assert keras.backend.standardize_dtype(actual.dtype) == "float32"
    close(actual, share * targets + (1 - share) * targets[partners], 1e-7)


def test_images_alone_are_mixed_as_with_their_targets():
    images, targets = normal((8, *SIZE, 3)), one_hot(8)
    layer, other = (Mix(1.0, seed=4) for _ in range(2))
    for _ in range(5):
        alone, partners, share = layer.mix_images(images)
        expected_images, expected_targets = mixed(other, images, targets)

        close(alone, expected_images, 0)
        close(mix_targets(targets, partners, share), expected_targets, 0)


def test_loss_is_the_mean_of_the_losses_of_both_targets():
    logits, targets = normal((6, 7)), one_hot(6)
    partners = np.array([1, 2, 3, 4, 5, 0])

    mixed_targets = mix_targets(targets, partners, np.float32(0.3))

    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    expected = 0.3 * loss(targets, logits) + 0.7 * loss(targets[partners], logits)
    close(loss(mixed_targets, logits), expected)


def test_state_alone_decides():
    images, targets = normal((8, *SIZE, 3)), one_hot(8)
    first, second = Mix(1.0, seed=0), Mix(1.0, seed=5)
    second.seed_generator.state.assign(first.seed_generator.state.value)

    before = mixed(first, images, targets)
    after = mixed(first, images, targets)

    assert any((one != other).any() for one, other in zip(before, after, strict=True))
    for expected in (before, after):
        for one, other in zip(mixed(second, images, targets), expected, strict=True):
            close(one, other, 0)


def test_inference_is_the_identity():
    images, targets = normal((4, *SIZE, 3)), one_hot(4)

    for one, other in zip(mixed(Mix(1.0), images, targets, False), (images, targets), strict=True):
        close(one, other, 0)


@pytest.mark.parametrize("compute_dtype", ["float32", "float16", "bfloat16"])
def test_half_precision_is_for_images_alone(compute_dtype):
    policy = "float32" if compute_dtype == "float32" else f"mixed_{compute_dtype}"
    layer = Mix(1.0, cutmix_alpha=None, seed=0, dtype=policy)

    images, targets = layer([normal((4, *SIZE, 3)), one_hot(4)], training=True)

    assert keras.backend.standardize_dtype(images.dtype) == compute_dtype
    assert keras.backend.standardize_dtype(targets.dtype) == "float32"
    full = Mix(1.0, cutmix_alpha=None, seed=0)([normal((4, *SIZE, 3)), one_hot(4)], training=True)
    close(images, full[0], 0.05)
    close(targets, full[1], 0)


@pytest.mark.skipif(BACKEND == "torch", reason="torch has no XLA here")
def test_compiles_with_xla():
    layer = Mix(1.0, mixup_alpha=0.4, cutmix_alpha=0.4, seed=0)
    images, targets = normal((8, *SIZE, 3)), one_hot(8)
    state = layer.seed_generator.state

    def call(value, images, targets):
        with keras.StatelessScope(state_mapping=[(state, value)]):
            return layer([images, targets], training=True)

    arguments = map(ops.convert_to_tensor, (state.value, images, targets))
    output = compiled(call)(*arguments)
    for one, other in zip(output, mixed(layer, images, targets), strict=True):
        close(one, other)


def test_config_shapes_and_a_saved_file(tmp_path):
    inputs = [keras.Input((*SIZE, 3)), keras.Input((7,))]
    layer = Mix(0.3, 0.4, None, seed=2, name="mix")
    outputs = layer(inputs)
    assert [each.shape for each in outputs] == [(None, *SIZE, 3), (None, 7)]
    assert layer.compute_output_shape([(4, *SIZE, 3), (4, 7)]) == ((4, *SIZE, 3), (4, 7))
    config = layer.get_config()
    assert Mix.from_config(json.loads(json.dumps(config))).get_config() == config

    keras.Model(inputs, outputs).save(tmp_path / "mix.keras")
    loaded = keras.saving.load_model(tmp_path / "mix.keras").get_layer("mix")

    assert type(loaded) is Mix and loaded.get_config() == config


@pytest.mark.parametrize(
    ("name", "value"),
    [("probability", -0.1), ("mixup_alpha", 0.0), ("cutmix_alpha", -1.0)],
)
def test_refuses_what_is_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be .* Received: {name}={value}"):
        Mix(**{name: value})
    with pytest.raises(ValueError, match="must not both be None"):
        Mix(mixup_alpha=None, cutmix_alpha=None)
