"""RandomErasing: the boxes against the paper's algorithm in loops, the erasing against NumPy."""

import math
import random

import numpy as np
import pytest
from keras import ops
from scipy import stats

from layer_harness import close, compiled, normal, to_numpy
from small_vit import RandomErasing
from small_vit.augment.random_erasing import draw_boxes, erase
from small_vit.layers.counter_random import make_key

SIZE = (24, 32)
DEFAULTS = ((0.02, 0.4), (0.3, 1 / 0.3))


def boxes_of(batch, probability=1.0, area=DEFAULTS[0], aspect=DEFAULTS[1], size=SIZE):
    draw = compiled(lambda seed: draw_boxes(make_key(seed), batch, size, probability, area, aspect))
    return np.stack([to_numpy(edge) for edge in draw(ops.convert_to_tensor(1))])


def reference_box(rng, area=DEFAULTS[0], aspect=DEFAULTS[1], size=SIZE):
    """The paper's algorithm 1, with the rounding of its authors' code."""
    height, width = size
    while True:
        target, ratio = rng.uniform(*area) * height * width, rng.uniform(*aspect)
        h, w = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if h < height and w < width:
            top, left = rng.randint(0, height - h), rng.randint(0, width - w)
            return top, top + h, left, left + w


def test_boxes_are_distributed_as_the_papers():
    boxes = boxes_of(20_000)
    rng = random.Random(0)
    expected = np.array([reference_box(rng) for _ in range(100_000)]).T

    for one, other in zip(boxes, expected, strict=True):
        assert stats.ks_2samp(one, other).pvalue > 1e-4
    area, expected_area = (
        (bottom - top) * (right - left) for top, bottom, left, right in (boxes, expected)
    )
    assert stats.ks_2samp(area, expected_area).pvalue > 1e-4


def test_boxes_lie_inside_and_are_of_the_sizes_asked_for():
    top, bottom, left, right = boxes_of(5000, area=(0.1, 0.2), aspect=(0.5, 2.0), size=(64, 96))

    assert (top >= 0).all() and (bottom <= 64).all() and (left >= 0).all() and (right <= 96).all()
    assert top.min() == 0 and bottom.max() == 64 and left.min() == 0 and right.max() == 96
    height, width = bottom - top, right - left
    # A side is rounded by half a pixel at most.
    assert ((height + 0.5) * (width + 0.5) >= 0.1 * 64 * 96).all()
    assert ((height - 0.5) * (width - 0.5) <= 0.2 * 64 * 96).all()
    assert ((height + 0.5) / (width - 0.5) >= 0.5).all()
    assert ((height - 0.5) / (width + 0.5) <= 2).all()


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_probability(probability):
    top, bottom, left, right = boxes_of(20_000, probability)

    erased = (bottom > top) & (right > left)
    assert erased.mean() == pytest.approx(probability, abs=5 * 0.5 / np.sqrt(20_000))


def test_what_never_fits_is_not_erased():
    top, bottom, _, _ = boxes_of(100, area=(1.0, 1.0), aspect=(1.0, 1.0), size=(8, 8))

    assert (top == bottom).all()


@pytest.mark.parametrize("fill", [7.0, (7.0, 8.0, 9.0)])
def test_erase_against_loops(fill):
    images, boxes = normal((30, *SIZE, 3)), boxes_of(30)

    erased = erase(images, [ops.convert_to_tensor(edge) for edge in boxes], fill)

    expected = images.copy()
    for image, (top, bottom, left, right) in zip(expected, boxes.T.astype(int), strict=True):
        image[top:bottom, left:right] = fill
    close(erased, expected, 0)
    assert (to_numpy(erased) != images).any((1, 2, 3)).all()


def test_layer_erases_a_rectangle_of_some_images():
    images = normal((400, 16, 12, 3))

    changed = (to_numpy(RandomErasing(seed=0)(images, training=True)) == 0).all(-1)

    assert 0.15 < changed.any((1, 2)).mean() < 0.35
    for mask in changed[changed.any((1, 2))]:
        rows, columns = mask.any(1), mask.any(0)
        assert mask.sum() == rows.sum() * columns.sum()
        assert np.ptp(np.flatnonzero(rows)) + 1 == rows.sum()
        assert np.ptp(np.flatnonzero(columns)) + 1 == columns.sum()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("probability", 1.5),
        ("area", (0.0, 0.4)),
        ("area", (0.5, 0.4)),
        ("area", (0.5, 1.4)),
        ("aspect", (0.0, 1.0)),
        ("aspect", (2.0, 1.0)),
    ],
)
def test_refuses_what_is_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be .* Received: {name}="):
        RandomErasing(**{name: value})


def test_refuses_a_fill_for_other_channels():
    with pytest.raises(ValueError, match="`fill` must be a value, or one for each of the 3"):
        RandomErasing(fill=(1, 2))(normal((2, 8, 8, 3)), training=True)
