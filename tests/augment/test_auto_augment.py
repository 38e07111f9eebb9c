"""AutoAugment: each operation against Pillow, the draws against the policy's table."""

import functools
from collections import Counter

import numpy as np
import pytest
from keras import ops
from PIL import Image, ImageEnhance, ImageOps

from layer_harness import LAYERS, close, compiled, to_numpy
from small_vit import AutoAugment
from small_vit.augment.auto_augment import POLICY, draw_operations, magnitude_pair
from small_vit.augment.operations import OPERATIONS
from small_vit.layers.counter_random import make_key

NAMES = list(OPERATIONS)
PLACES = sorted({(name, level) for each in POLICY for name, _, level in each})


def affine(matrix, resample=Image.Resampling.NEAREST):
    def transform(image, magnitude):
        fill = (128, 128, 128) if image.mode == "RGB" else 128
        coefficients = matrix(magnitude, *image.size)
        method = Image.Transform.AFFINE
        return image.transform(image.size, method, coefficients, resample, fillcolor=fill)

    return transform


def rotate(image, degrees):
    turned = image.convert("RGBA").rotate(degrees)
    grey = Image.new("RGBA", image.size, (128,) * 4)
    return Image.composite(turned, grey, turned).convert(image.mode)


PILLOW = {
    "autocontrast": lambda image, _: ImageOps.autocontrast(image),
    "brightness": lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    "color": lambda image, factor: ImageEnhance.Color(image).enhance(factor),
    "contrast": lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
    "equalize": lambda image, _: ImageOps.equalize(image),
    "invert": lambda image, _: ImageOps.invert(image),
    "posterize": lambda image, bits: ImageOps.posterize(image, int(bits)),
    "rotate": rotate,
    "sharpness": lambda image, factor: ImageEnhance.Sharpness(image).enhance(factor),
    "shear_y": affine(lambda part, *_: (1, 0, 0, part, 1, 0), Image.Resampling.BICUBIC),
    "solarize": ImageOps.solarize,
    "translate_x": affine(lambda part, width, _: (1, 0, part * width, 0, 1, 0)),
    "translate_y": affine(lambda part, _, height: (1, 0, 0, 0, 1, part * height)),
}


def by_pillow(name, image, magnitude):
    """A Pillow operation on an array of whole numbers, `(height, width, 1 or 3)`."""
    picture = Image.fromarray(np.squeeze(image.astype("uint8"), -1 if image.shape[-1] == 1 else ()))
    return np.asarray(PILLOW[name](picture, magnitude)).reshape(image.shape).astype("float32")


def random_images(shape, seed=0):
    """Noise, smooth gradients and flat images, each of its own contrast; the first of one value."""
    rng = np.random.default_rng(seed)
    noise = rng.uniform(size=shape)
    noise[1::2] = np.cumsum(noise[1::2] - 0.5, axis=1) * 0.2 + 0.5
    low, high = rng.uniform(0, 0.4, (shape[0], 1, 1, 1)), rng.uniform(0.5, 1, (shape[0], 1, 1, 1))
    images = np.clip(low + (high - low) * noise, 0, 1) * 255
    images[0] = images[0, 0, 0]
    return images.round().astype("float32")


@functools.cache
def program(name):
    return compiled(OPERATIONS[name])


def run(name, images, magnitude):
    magnitudes = np.full((len(images), 1, 1, 1), magnitude, "float32")
    return to_numpy(program(name)(*map(ops.convert_to_tensor, (images, magnitudes))))


@pytest.mark.parametrize("shape", [(32, 32, 3), (24, 37, 3), (32, 32, 1)])
@pytest.mark.parametrize(("name", "level"), [place for place in PLACES if place[0] != "color"])
def test_operation_is_pillows(name, level, shape):
    images = random_images((8, *shape))
    for magnitude in set(magnitude_pair(name, level)):
        actual = run(name, images, magnitude)
        expected = np.stack([by_pillow(name, image, magnitude) for image in images])

        off = actual != expected
        if name in ("autocontrast", "shear_y"):
            assert np.abs(actual - expected).max() <= 1
        else:
            assert not off.any()
        if name == "autocontrast":
            # Only where Pillow rounds down a whole number that its doubles just miss.
            low, high = images.min((1, 2), keepdims=True), images.max((1, 2), keepdims=True)
            assert ((images - low) * 255 % np.maximum(high - low, 1) == 0)[off].all()
        # Of shear only values that are whole but for rounding errors.
        assert name != "shear_y" or off.mean() < 5e-3


@pytest.mark.parametrize("times", [1, 4, 16])
def test_equalize_is_pillows_where_its_quotients_are_whole(times):
    """Every level as often as every other, in another order in each channel."""
    levels = np.repeat(np.arange(256.0, dtype="float32"), times)
    rng = np.random.default_rng(0)
    images = np.stack([rng.permuted(levels) for _ in range(12)], axis=-1)
    images = images.reshape(16, 16 * times, 4, 3).transpose(2, 0, 1, 3)

    expected = np.stack([by_pillow("equalize", image, None) for image in images])

    close(run("equalize", images, 0), expected, 0)


@pytest.mark.parametrize("level", [level for name, level in PLACES if name == "color"])
def test_color_is_pillows(level):
    images = random_images((8, 32, 32, 3))
    for magnitude in magnitude_pair("color", level):
        expected = np.stack([by_pillow("color", image, magnitude) for image in images])
        close(run("color", images, magnitude), expected, 0)

    close(run("color", images[..., :1], 0.3), images[..., :1], 0)


def test_levels_are_the_references():
    signed = {
        "shear_y": np.linspace(0, 0.3, 10),
        "translate_x": np.linspace(0, 150 / 331, 10),
        "translate_y": np.linspace(0, 150 / 331, 10),
    }
    about_one = dict.fromkeys(
        ("brightness", "color", "contrast", "sharpness"), np.linspace(0, 0.9, 10)
    )
    single = {
        "rotate": np.linspace(0, 30, 10),
        "posterize": np.linspace(8, 4, 10).round(),
        "solarize": np.linspace(256, 0, 10),
    }
    for level in range(10):
        for name, values in signed.items():
            close(magnitude_pair(name, level), [-values[level], values[level]], 1e-7)
        for name, values in about_one.items():
            close(magnitude_pair(name, level), [1 - values[level], 1 + values[level]], 1e-7)
        for name, values in single.items():
            close(magnitude_pair(name, level), [values[level]] * 2, 1e-7)


def test_draws_follow_the_table():
    count = 200_000
    operations, magnitudes = (to_numpy(each) for each in draw_operations(make_key(0), count))
    seen = Counter()
    for chosen, strengths in zip(operations.astype(int), magnitudes.round(4), strict=True):
        seen[tuple(map(outcome, chosen, strengths))] += 1

    expected = Counter()
    for first, second in POLICY:
        for one, chance in outcomes(*first):
            for other, other_chance in outcomes(*second):
                expected[one, other] += count / 25 * chance * other_chance
    expected = Counter({each: number for each, number in expected.items() if number > 0})

    assert set(seen) == set(expected)
    for each, number in expected.items():
        assert abs(seen[each] - number) < 5 * np.sqrt(number), each


def outcome(operation, magnitude):
    return None if operation == len(NAMES) else (NAMES[operation], round(float(magnitude), 3))


def outcomes(name, probability, level):
    """What an operation of the table comes to, and how often."""
    applied = [
        (outcome(NAMES.index(name), magnitude), probability / 2)
        for magnitude in magnitude_pair(name, level)
    ]
    return [*applied, (None, 1 - probability)]


def augment(layer, images):
    (output,) = LAYERS["auto_augment"].run_fast(layer, images, training=True)
    return output


@pytest.fixture(scope="module")
def augmented():
    images = random_images((300, 32, 28, 3), seed=1)
    layer = AutoAugment(seed=0)
    key = make_key(*(int(each) for each in to_numpy(layer.seed_generator.state.value)))
    operations, magnitudes = (to_numpy(each) for each in draw_operations(key, 300))
    return images, to_numpy(augment(layer, images)), operations.astype(int), magnitudes


def test_layer_applies_what_it_draws_one_after_the_other(augmented):
    images, output, operations, magnitudes = augmented
    expected = images.copy()
    for example, (chosen, strengths) in enumerate(zip(operations, magnitudes, strict=True)):
        for operation, magnitude in zip(chosen, strengths, strict=True):
            if operation < len(NAMES):
                expected[example] = by_pillow(NAMES[operation], expected[example], magnitude)

    # The steps by which autocontrast and shear are off may grow in what follows them.
    inexact = np.isin(operations, [NAMES.index("autocontrast"), NAMES.index("shear_y")]).any(1)
    close(output[~inexact], expected[~inexact], 0)
    assert (output[inexact] == expected[inexact]).mean() > 0.9
    assert 40 < inexact.sum() < 150


def test_layer_changes_images_by_their_own_draws(augmented):
    images, output, operations, magnitudes = augmented

    kept = (operations == len(NAMES)).all(1)
    assert kept.any()
    close(output[kept], images[kept], 0)
    assert len(np.unique(np.concatenate([operations, magnitudes], axis=1), axis=0)) > 40
    assert (output == output.round()).all() and output.min() >= 0 and output.max() <= 255


def test_state_alone_decides_and_bytes_or_half_precision_do_not_matter(augmented):
    images, output, _, _ = augmented
    layer = AutoAugment(seed=9, dtype="mixed_bfloat16")
    layer.seed_generator.state.assign(AutoAugment(seed=0).seed_generator.state.value)

    close(augment(layer, images.astype("uint8")), output, 0)


def test_values_are_rounded_to_bytes_first(augmented):
    images, output, _, _ = augmented
    shaken = images + np.random.default_rng(0).uniform(-0.4, 0.4, images.shape)

    close(augment(AutoAugment(seed=0), shaken.astype("float32")), output, 0)


def test_inference_is_the_identity():
    images = random_images((4, 7, 6, 3)) + 0.25

    close(AutoAugment()(images), images, 0)


def test_refuses_other_channels():
    with pytest.raises(ValueError, match="must have 1 or 3 channels"):
        AutoAugment()(np.zeros((2, 8, 8, 4), "float32"), training=True)
