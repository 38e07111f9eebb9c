"""Shifted Patch Tokenization against loops over patches, pixels and shifted copies."""

import warnings

import keras
import numpy as np
import pytest

from layer_harness import LayerCase, close, normal, to_numpy
from small_vit import ShiftedPatchTokenization

DIAGONAL = [(1, 1), (-1, 1), (1, -1), (-1, -1)]
CARDINAL = [(1, 0), (-1, 0), (0, 1), (0, -1)]
COPIES = {
    "none": [(0, 0)],
    "diagonal": [(0, 0), *DIAGONAL],
    "cardinal": [(0, 0), *CARDINAL],
    "all": [(0, 0), *DIAGONAL, *CARDINAL],
}


def reference_patches(images, patch, stride, shifts, shift):
    batch, height, width, channels = images.shape
    rows, columns = (height - patch[0]) // stride[0] + 1, (width - patch[1]) // stride[1] + 1
    patches = np.zeros((batch, rows, columns, patch[0] * patch[1] * len(COPIES[shifts]) * channels))
    for row in range(rows):
        for column in range(columns):
            feature = 0
            for down in range(patch[0]):
                for right in range(patch[1]):
                    for copy_down, copy_right in COPIES[shifts]:
                        y = row * stride[0] + down + copy_down * shift[0]
                        x = column * stride[1] + right + copy_right * shift[1]
                        if 0 <= y < height and 0 <= x < width:
                            patches[:, row, column, feature : feature + channels] = images[:, y, x]
                        feature += channels
    return patches


def reference_tokens(patches, weights, epsilon=1e-6):
    flat = patches.reshape(len(patches), -1, patches.shape[-1])
    kernel, bias, *norm = weights
    if norm:
        gamma, beta = norm
        deviation = flat - flat.mean(-1, keepdims=True)
        flat = deviation / np.sqrt((deviation**2).mean(-1, keepdims=True) + epsilon) * gamma + beta
    return flat @ kernel + bias


def run(images, **kwargs):
    kwargs = {"projection_dim": 5, **kwargs}
    case = LayerCase(ShiftedPatchTokenization, kwargs, images.shape[1:])
    layer = case.make_built()
    tokens, patches = case.run_fast(layer, images)
    return layer, to_numpy(tokens), to_numpy(patches)


@pytest.mark.parametrize("patch_norm", [True, False])
@pytest.mark.parametrize("shifts", COPIES)
def test_shift_sets(shifts, patch_norm):
    images = normal((2, 8, 12, 3))

    layer, tokens, patches = run(images, patch_size=4, shifts=shifts, patch_norm=patch_norm)

    expected = reference_patches(images, (4, 4), (4, 4), shifts, (2, 2))
    close(patches, expected, 0)
    close(tokens, reference_tokens(expected, layer.get_weights()))


@pytest.mark.filterwarnings("ignore:.* pixels of images of .* are ignored")
@pytest.mark.parametrize(
    ("image", "patch", "stride", "ratio", "shift"),
    [
        pytest.param((8, 8), (4, 4), (2, 2), 0.5, (2, 2), id="overlap"),
        pytest.param((9, 11), (2, 2), (3, 4), 0.5, (1, 1), id="gaps"),
        pytest.param((10, 6), (5, 3), (5, 3), 0.5, (2, 1), id="odd-patch"),
        pytest.param((8, 12), (4, 6), (4, 6), 0.5, (2, 3), id="non-square"),
        pytest.param((9, 10), (4, 3), (3, 2), 0.25, (1, 0), id="quarter-shift"),
        pytest.param((8, 8), (4, 4), (4, 4), 1.0, (4, 4), id="whole-patch-shift"),
        pytest.param((4, 4), (4, 4), (4, 4), 2.0, (8, 8), id="shift-beyond-the-image"),
        pytest.param((11, 7), (4, 4), (4, 4), 0.5, (2, 2), id="remainder-left-out"),
    ],
)
def test_geometry(image, patch, stride, ratio, shift):
    images = normal((2, *image, 3))

    layer, tokens, patches = run(
        images, patch_size=patch, stride=stride, shift_ratio=ratio, shifts="all"
    )

    expected = reference_patches(images, patch, stride, "all", shift)
    close(patches, expected, 0)
    close(tokens, reference_tokens(expected, layer.get_weights()))


@pytest.mark.parametrize(
    ("image", "patch", "stride", "shifts", "pixels", "rows", "columns"),
    [
        pytest.param((25, 43), 8, 8, "none", 115, 1, 3, id="remainder"),
        pytest.param((25, 43), 8, 8, "cardinal", 3, 0, 0, id="corner"),
        pytest.param((12, 13), 4, 3, "none", 26, 2, 0, id="overlap"),
        pytest.param((12, 13), (4, 5), (4, 3), "none", 24, 0, 2, id="non-square-overlap"),
        pytest.param((8, 9), 2, 3, "none", 36, 2, 3, id="gaps"),
        pytest.param((21, 21), 8, 8, "all", 41, 1, 1, id="beyond-the-shift"),
    ],
)
def test_pixels_that_no_patch_sees_are_warned_of_once(
    image, patch, stride, shifts, pixels, rows, columns
):
    layer = ShiftedPatchTokenization(
        patch_size=patch, stride=stride, shifts=shifts, projection_dim=5, patch_norm=False
    )
    numbered = np.arange(1, image[0] * image[1] + 1).reshape(1, *image, 1)

    with pytest.warns(UserWarning) as warned:
        _, patches = layer(numbered)
        layer(numbered)

    ignored = ~np.isin(numbered[0, ..., 0], to_numpy(patches))
    assert (ignored.sum(), ignored.all(1).sum(), ignored.all(0).sum()) == (pixels, rows, columns)
    (message,) = [str(each.message) for each in warned if each.category is UserWarning]
    assert f"{pixels} pixels of images of {image[0]} x {image[1]} are ignored" in message
    assert f"(whole rows: {rows}, whole columns: {columns})" in message


@pytest.mark.parametrize(
    ("image", "kwargs"),
    [
        pytest.param((24, 40), {"vanilla": True}, id="no-remainder"),
        pytest.param((25, 43), {}, id="remainder-in-shifted-copies"),
        pytest.param((12, 20), {"vanilla": True, "stride": 2}, id="overlap"),
    ],
)
def test_nothing_is_warned_of_where_all_pixels_are_seen(image, kwargs):
    layer = ShiftedPatchTokenization(patch_size=8, projection_dim=5, **kwargs)

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        layer.build((None, *image, 3))


def test_a_shift_is_whole_where_its_product_is():
    """100 * 0.29 is 28.999999999999996 in floating point."""
    images = normal((1, 100, 100, 1))
    _, _, patches = run(images, patch_size=100, shift_ratio=0.29)
    close(patches, reference_patches(images, (100, 100), (100, 100), "diagonal", (29, 29)), 0)


def test_zero_shift_repeats_the_image():
    images = normal((2, 8, 8, 3))

    _, _, patches = run(images, patch_size=4, shift_ratio=0.0)

    copies = patches.reshape(2, 2, 2, 16, 5, 3)
    close(copies, np.repeat(copies[..., :1, :], 5, axis=-2), 0)


def test_norm_epsilon():
    images = normal((2, 8, 8, 3), scale=0.1)

    layer, tokens, patches = run(images, patch_size=4, norm_epsilon=0.1)

    close(tokens, reference_tokens(patches, layer.get_weights(), epsilon=0.1))


def test_one_channel():
    images = normal((2, 8, 8, 1))

    _, _, patches = run(images, patch_size=4)

    close(patches, reference_patches(images, (4, 4), (4, 4), "diagonal", (2, 2)), 0)


@pytest.mark.parametrize(("vanilla", "features"), [(False, 6 * 6 * 3 * 5), (True, 6 * 6 * 3)])
def test_keywords_and_outputs_of_the_keras_example(vanilla, features):
    layer = ShiftedPatchTokenization(
        image_size=72, patch_size=6, num_patches=144, projection_dim=64, vanilla=vanilla
    )

    tokens, patches = layer(keras.Input((72, 72, 3)))

    assert tokens.shape == (None, 144, 64)
    assert patches.shape == (None, 12, 12, features)


def test_weights_are_the_keras_examples():
    layer = ShiftedPatchTokenization(patch_size=4, projection_dim=5)
    layer.build((None, 8, 8, 3))

    paths = ["/".join(weight.path.split("/")[-2:]) for weight in layer.weights]
    assert paths == [
        "projection/kernel",
        "projection/bias",
        "layer_norm/gamma",
        "layer_norm/beta",
    ]
    assert [tuple(weight.shape) for weight in layer.weights] == [(240, 5), (5,), (240,), (240,)]


def test_vanilla_has_no_shifts_and_no_norm():
    images = normal((2, 8, 8, 3))

    layer, tokens, _ = run(images, patch_size=4, vanilla=True)

    assert len(layer.weights) == 2
    expected = reference_patches(images, (4, 4), (4, 4), "none", (0, 0))
    close(tokens, reference_tokens(expected, layer.get_weights()))


@pytest.mark.parametrize(
    ("switches", "copies", "norms"),
    [({"shifts": "cardinal"}, 5, 0), ({"patch_norm": True}, 1, 2)],
)
def test_switches_override_vanilla(switches, copies, norms):
    layer = ShiftedPatchTokenization(patch_size=4, projection_dim=5, vanilla=True, **switches)

    layer.build((None, 8, 8, 3))

    assert layer.weights[0].shape[0] == 4 * 4 * 3 * copies
    assert len(layer.weights) == 2 + norms


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"shifts": "sideways"}, r"`shifts` is one of .*'sideways'"),
        ({"shift_ratio": -0.5}, "`shift_ratio` must be at least 0.*-0.5"),
        (
            {"patch_size": 4, "shift_ratio": 0.24},
            "shift_ratio.* one pixel.*0.24 of patch_size=4",
        ),
        ({"patch_size": 0}, "patch_size must be a positive int.*0"),
        ({"patch_size": (4, 4, 4)}, "patch_size must be a positive int"),
        ({"stride": -1}, "stride must be a positive int.*-1"),
    ],
)
def test_bad_argument(kwargs, message):
    with pytest.raises(ValueError, match=message):
        ShiftedPatchTokenization(**kwargs)


@pytest.mark.parametrize(
    ("kwargs", "input_shape", "message"),
    [
        ({"image_size": 8}, (None, 8, 9, 3), r"8 x 9 pixels do not fit image_size=\(8, 8\)"),
        ({"num_patches": 5}, (None, 8, 8, 3), "2 x 2 = 4 patches.*num_patches=5"),
        ({}, (None, 8, 3, 3), r"patch_size=\(4, 4\) does not fit into images of 8 x 3"),
        ({}, (None, None, 8, 3), "known height, width and number of channels"),
        ({}, (None, 8, 8, None), "known height, width and number of channels"),
        ({}, (8, 8, 3), r"\(batch, height, width, channels\) .*input_shape=\(8, 8, 3\)"),
    ],
)
def test_images_that_do_not_fit(kwargs, input_shape, message):
    layer = ShiftedPatchTokenization(patch_size=4, projection_dim=5, **kwargs)

    with pytest.raises(ValueError, match=message):
        layer.build(input_shape)


def test_other_images_than_it_was_built_for():
    layer = ShiftedPatchTokenization(patch_size=4, projection_dim=5)
    layer(normal((1, 8, 8, 3)))

    with pytest.raises(ValueError):
        layer(normal((1, 12, 12, 3)))
