"""RandomAffine: the warp against loops and Keras, the draws against their ranges."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from layer_harness import close, normal, to_numpy
from small_vit import RandomAffine
from small_vit.augment.random_affine import affine_matrices, warp

STILL = {"flip": False, "rotation": 0.0, "zoom": 0.0, "translation": 0.0}


def matrices(mirror=1.0, angle=0.0, zoom_y=1.0, zoom_x=1.0, down=0.0, right=0.0):
    """One map, as a batch of one."""
    arguments = (mirror, angle, zoom_y, zoom_x, down, right)
    return affine_matrices(*(ops.convert_to_tensor([value], "float32") for value in arguments))


def random_matrices(count, seed=0):
    rng = np.random.default_rng(seed)
    linear = np.eye(2) + rng.normal(scale=0.4, size=(count, 2, 2))
    shift = rng.normal(scale=3, size=(count, 2, 1))
    return np.concatenate([linear, shift], axis=-1).astype("float32")


def reference_warp(images, maps):
    batch, height, width, _ = images.shape
    center = np.array([(height - 1) / 2, (width - 1) / 2])
    output = np.zeros_like(images)
    for example in range(batch):
        for row in range(height):
            for column in range(width):
                relative = np.array([row, column]) - center
                y, x = maps[example, :, :2] @ relative + maps[example, :, 2] + center
                top, left = math.floor(y), math.floor(x)
                for tap_y, weight_y in [(top, top + 1 - y), (top + 1, y - top)]:
                    for tap_x, weight_x in [(left, left + 1 - x), (left + 1, x - left)]:
                        pixel = images[example, reflect(tap_y, height), reflect(tap_x, width)]
                        output[example, row, column] += weight_y * weight_x * pixel
    return output


def reflect(position, length):
    while not 0 <= position < length:
        position = -position - 1 if position < 0 else 2 * length - 1 - position
    return position


def test_warp_against_loops():
    images, maps = normal((4, 7, 6, 2)), random_matrices(4)

    close(warp(images, ops.convert_to_tensor(maps)), reference_warp(images, maps))


def test_warp_against_keras():
    images, maps = normal((4, 9, 12, 3)), random_matrices(4)
    cy, cx = 4.0, 5.5
    (yy, yx, y0), (xy, xx, x0) = maps[:, 0].T, maps[:, 1].T
    transforms = np.stack(
        [xx, xy, x0 + cx - xx * cx - xy * cy, yx, yy, y0 + cy - yx * cx - yy * cy, 0 * xx, 0 * xx],
        axis=-1,
    )

    expected = ops.image.affine_transform(
        images, transforms, interpolation="bilinear", fill_mode="reflect"
    )

    close(warp(images, ops.convert_to_tensor(maps)), expected, 1e-4)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_are_numpys(turns):
    images = normal((1, 6, 6, 2))

    rotated = warp(images, matrices(angle=turns * math.pi / 2))

    close(rotated, np.rot90(images, turns, axes=(1, 2)), 1e-4)


def test_quarter_turn_goes_about_the_center_of_a_wide_image():
    images = normal((1, 4, 8, 1))

    rotated = warp(images, matrices(angle=math.pi / 2))

    square = images[:, :, 2:6]
    close(to_numpy(rotated)[:, :, 2:6], np.rot90(square, axes=(1, 2)), 1e-4)


def test_shift_moves_the_image_and_reflects_at_the_border():
    images = normal((1, 5, 6, 1))

    shifted = to_numpy(warp(images, matrices(down=1.0, right=-2.0)))

    close(shifted[:, 1:, :4], images[:, :-1, 2:])
    close(shifted[:, 0, :4], images[:, 0, 2:])
    close(shifted[:, 1:, 4:], images[:, :-1, :3:-1])


def test_zoom_below_one_shows_less_of_the_image():
    images = normal((1, 8, 8, 1))

    zoomed = to_numpy(warp(images, matrices(zoom_y=0.5, zoom_x=1.0)))

    # Rows 3 and 4 now lie a quarter pixel from the centre, each in its own half.
    close(zoomed[:, 3], 0.75 * images[:, 3] + 0.25 * images[:, 4])
    close(zoomed[:, 4], 0.25 * images[:, 3] + 0.75 * images[:, 4])


def test_order_is_flip_then_rotation_then_zoom_then_shift():
    angle, zoom_y, zoom_x, down, right = 0.3, 1.2, 0.9, 2.0, -1.5

    actual = to_numpy(matrices(-1.0, angle, zoom_y, zoom_x, down, right))[0]

    flip = np.diag([1, -1])
    rotation = [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
    linear = flip @ rotation @ np.diag([zoom_y, zoom_x])
    close(actual, np.column_stack([linear, -linear @ [down, right]]))


def keras_layer(layer, images):
    """What one of Keras's layers draws for `images`, and what it makes of them."""
    drawn = layer.get_random_transformation(images, training=True)
    return drawn, layer.transform_images(images, drawn, training=True)


def warped(images, **maps):
    batch = len(images)
    still = {"mirror": 1.0, "angle": 0.0, "zoom_y": 1.0, "zoom_x": 1.0, "down": 0.0, "right": 0.0}
    values = {
        name: np.broadcast_to(np.asarray(to_numpy(value), "float32"), (batch,))
        for name, value in {**still, **maps}.items()
    }
    return warp(images, affine_matrices(**{k: ops.convert_to_tensor(v) for k, v in values.items()}))


def test_the_same_draws_give_what_keras_layers_give():
    images = normal((3, 8, 11, 2))

    drawn, rotated = keras_layer(keras.layers.RandomRotation(0.1, seed=1), images)
    close(warped(images, angle=np.deg2rad(to_numpy(drawn["angle"]).ravel())), rotated, 1e-4)

    drawn, zoomed = keras_layer(keras.layers.RandomZoom(0.2, 0.2, seed=2), images)
    factors = {"zoom_y": drawn["height_zoom"][:, 0], "zoom_x": drawn["width_zoom"][:, 0]}
    close(warped(images, **factors), zoomed, 1e-4)

    drawn, shifted = keras_layer(keras.layers.RandomTranslation(0.2, 0.2, seed=3), images)
    right, down = to_numpy(drawn["translations"]).T
    close(warped(images, down=down, right=right), shifted, 1e-4)


def augment(images, seed=0, **ranges):
    return to_numpy(RandomAffine(**{**STILL, **ranges}, seed=seed)(images, training=True))


def test_nothing_to_draw_is_the_identity():
    images = normal((4, 7, 6, 3))

    close(augment(images), images, 0)


def test_inference_is_the_identity():
    images = normal((4, 7, 6, 3))

    close(RandomAffine(rotation=0.3, translation=0.3)(images), images, 0)


def test_flip_mirrors_half_of_the_images():
    images = normal((2000, 1, 4, 1))

    output = augment(images, flip=True)

    mirrored = (output == images[:, :, ::-1]).all((1, 2, 3))
    assert (mirrored | (output == images).all((1, 2, 3))).all()
    assert 0.45 < mirrored.mean() < 0.55


def observed(seed=0, size=65, batch=200, **ranges):
    """The matrices behind `batch` draws, read off images whose pixels hold their own position."""
    center = size // 2
    positions = np.arange(size) - center
    ramps = np.stack(np.meshgrid(positions, positions, indexing="ij"), axis=-1).astype("float32")
    output = augment(np.repeat(ramps[None], batch, axis=0), seed, **ranges)
    constant = output[:, center, center]
    from_y = (output[:, center + 4, center] - constant) / 4
    from_x = (output[:, center, center + 4] - constant) / 4
    return np.stack([from_y, from_x, constant], axis=-1)


def assert_fills(values, largest):
    """`values` lie within ±`largest`, reach both ends, and differ from one another."""
    assert -largest - 1e-4 <= values.min() < -0.9 * largest
    assert largest + 1e-4 >= values.max() > 0.9 * largest
    assert len(np.unique(values.round(6))) > 0.9 * len(values)


def test_rotation_keeps_to_its_range():
    maps = observed(rotation=0.1)

    angles = np.arctan2(maps[:, 0, 1], maps[:, 0, 0])
    assert_fills(angles, 0.1 * 2 * math.pi)
    close(np.linalg.det(maps[:, :, :2]), np.ones(200), 1e-4)


def test_zoom_keeps_to_its_range_by_a_draw_for_each_side():
    maps = observed(zoom=0.3)

    assert_fills(maps[:, 0, 0] - 1, 0.3)
    assert_fills(maps[:, 1, 1] - 1, 0.3)
    assert abs(np.corrcoef(maps[:, 0, 0], maps[:, 1, 1])[0, 1]) < 0.3


def test_translation_keeps_to_its_range_by_a_draw_for_each_direction():
    maps = observed(translation=0.2)

    assert_fills(maps[:, 0, 2], 0.2 * 65)
    assert_fills(maps[:, 1, 2], 0.2 * 65)
    assert abs(np.corrcoef(maps[:, 0, 2], maps[:, 1, 2])[0, 1]) < 0.3


def test_same_seed_draws_the_same():
    images = normal((4, 7, 6, 3))

    close(augment(images, seed=3, rotation=0.2), augment(images, seed=3, rotation=0.2), 0)
    assert (augment(images, seed=4, rotation=0.2) != augment(images, seed=3, rotation=0.2)).any()


def test_each_call_draws_anew():
    layer = RandomAffine(seed=0)
    images = normal((4, 7, 6, 3))

    first, second = layer(images, training=True), layer(images, training=True)

    assert (to_numpy(first) != to_numpy(second)).any()


def test_half_precision_draws_the_same_maps():
    images = normal((4, 32, 32, 3))

    half = RandomAffine(seed=0, dtype="mixed_bfloat16")(images, training=True)
    full = RandomAffine(seed=0)(images, training=True)

    assert np.abs(to_numpy(half) - to_numpy(full)).max() < 0.1


def test_half_precision_keeps_a_plain_image():
    layer = RandomAffine(translation=0.1, seed=1, dtype="mixed_bfloat16")
    plain = layer(np.ones((8, 16, 16, 3), "float32"), training=True)
    assert keras.backend.standardize_dtype(plain.dtype) == "bfloat16"
    np.testing.assert_array_equal(to_numpy(ops.cast(plain, "float32")), 1)


def test_integer_images():
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3)).astype("uint8")

    of_integers = augment(images, rotation=0.1)

    assert np.abs(of_integers - augment(images.astype("float32"), rotation=0.1)).max() <= 1


@pytest.mark.parametrize(
    ("name", "value"), [("rotation", -0.1), ("translation", -1), ("zoom", 1.5)]
)
def test_refuses_what_is_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be .* Received: {name}="):
        RandomAffine(**{name: value})


def test_inside_a_compiled_training_step():
    images = keras.Input((8, 8, 3))
    features = keras.layers.Flatten()(RandomAffine(seed=0)(images))
    model = keras.Model(images, keras.layers.Dense(2)(features))

    model.compile("sgd", "mse", jit_compile=keras.backend.backend() != "torch")

    assert np.isfinite(model.train_on_batch(normal((4, 8, 8, 3)), np.zeros((4, 2))))
