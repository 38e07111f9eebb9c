"""PaddedRandomCrop: the crop against loops, the offsets against their range."""

import numpy as np
import pytest
from keras import ops

from layer_harness import close, normal, to_numpy
from small_vit import PaddedRandomCrop
from small_vit.augment.padded_random_crop import crop, draw_offsets
from small_vit.layers.counter_random import make_key


def reference_crop(images, rows, columns, padding, fill):
    output = np.full_like(images, fill)
    _, height, width, _ = images.shape
    for example, row, column in np.ndindex(images.shape[:3]):
        y = row + rows[example] - padding
        x = column + columns[example] - padding
        if 0 <= y < height and 0 <= x < width:
            output[example, row, column] = images[example, y, x]
    return output


@pytest.mark.parametrize("padding", [0, 2, 9])
def test_crop_against_loops(padding):
    images = normal((6, 7, 5, 2))
    rows, columns = np.random.default_rng(0).integers(0, 2 * padding + 1, (2, 6)).astype("int32")

    cropped = crop(images, ops.convert_to_tensor(rows), ops.convert_to_tensor(columns), padding, 9)

    close(cropped, reference_crop(images, rows, columns, padding, 9), 0)


def test_offsets_are_uniform_and_independent():
    offsets = np.stack([to_numpy(each) for each in draw_offsets(make_key(0), 50_000, 2)])

    counts = np.zeros((5, 5))
    np.add.at(counts, tuple(offsets.astype(int)), 1)
    assert np.abs(counts - 2000).max() < 5 * np.sqrt(2000)


def test_layer_shifts_each_image_by_its_own_draw():
    images = np.repeat(normal((1, 8, 6, 3)), 40, axis=0)

    cropped = to_numpy(PaddedRandomCrop(padding=2, seed=0)(images, training=True))

    shifts = set()
    for image in cropped:
        padded = np.pad(images[0], ((2, 2), (2, 2), (0, 0)))
        found = [
            (y, x) for y, x in np.ndindex(5, 5) if (padded[y : y + 8, x : x + 6] == image).all()
        ]
        assert len(found) == 1
        shifts.update(found)
    assert len(shifts) > 15


def test_inference_is_the_identity():
    images = normal((4, 7, 6, 3))

    close(PaddedRandomCrop()(images), images, 0)


@pytest.mark.parametrize("padding", [-1, 1.5])
def test_refuses_bad_padding(padding):
    with pytest.raises(ValueError, match=f"`padding` must be .* Received: padding={padding}"):
        PaddedRandomCrop(padding)
