"""Resize: against Pillow where a side shrinks, and Keras's operation where none does."""

import keras
import numpy as np
import pytest
from keras import ops
from PIL import Image

from layer_harness import close, normal, to_numpy
from small_vit import Resize
from small_vit.data.image_files import scale_image

SHRINKING = [
    pytest.param((6, 5), id="both"),
    pytest.param((17, 4), id="width"),
    pytest.param((7, 40), id="height-but-width-enlarged"),
    pytest.param((17, 23), id="by-a-pixel"),
    pytest.param((1, 1), id="to-a-pixel"),
]
ENLARGING = [(18, 24), (17, 36), (51, 31)]
SIDES = (17, 24)


@pytest.mark.parametrize("stripes", ["rows", "columns", "checks"])
def test_stripes_of_a_pixel_shrunk_to_about_a_quarter_become_grey(stripes):
    """Of nearly a whole ratio, where sampling without antialiasing shows broad bands."""
    rows, columns = np.indices((62, 94))
    bright = {"rows": rows, "columns": columns, "checks": rows + columns}[stripes] % 2
    image = np.repeat(255 * bright[..., None], 3, axis=-1).astype("uint8")

    for resized in (to_numpy(Resize((16, 24))(image[None]))[0], scale_image(image, (16, 24))):
        inner = resized[1:-1, 1:-1].astype("float32")  # a border's mean is of fewer pixels
        np.testing.assert_allclose(inner, np.full_like(inner, 127.5), atol=1)


@pytest.mark.parametrize("size", SHRINKING)
def test_shrunk_images_are_pillows(size):
    images = normal((2, *SIDES, 3), scale=100)

    resized = Resize(size)(images)

    def by_pillow(channel):
        return np.asarray(Image.fromarray(channel).resize(size[::-1], Image.Resampling.BILINEAR))

    expected = [[by_pillow(image[..., channel]) for channel in range(3)] for image in images]
    close(resized, np.transpose(expected, (0, 2, 3, 1)), 1e-3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [*SHRINKING, *ENLARGING])
def test_scale_image_is_the_layer_in_bytes(size, channels):
    image = np.random.default_rng(0).integers(0, 256, (*SIDES, channels)).astype("uint8")

    resized = to_numpy(Resize(size)(image[None]))[0]

    # Pillow rounds to bytes twice, after each side.
    np.testing.assert_allclose(scale_image(image, size), resized, atol=1.01)


@pytest.mark.parametrize("size", ENLARGING)
def test_enlarged_images_are_those_of_keras(size):
    images = normal((2, *SIDES, 3))

    expected = ops.image.resize(images, size, interpolation="bilinear", antialias=False)

    close(Resize(size)(images), expected, 0)


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("size", [(9, 5), (20, 30)])
def test_one_colour_stays_that_colour(size, dtype):
    images = np.full((1, *SIDES, 1), 200, "uint8")

    close(Resize(size, dtype=dtype)(images), np.full((1, *size, 1), 200.0), 1e-6)


@pytest.mark.parametrize("size", [(6, 5), (20, 30)])
def test_keras_image_data_format_changes_nothing(size):
    images = normal((2, *SIDES, 3))
    expected = Resize(size)(images)

    keras.config.set_image_data_format("channels_first")
    try:
        resized = Resize(size)(images)
    finally:
        keras.config.set_image_data_format("channels_last")

    close(resized, expected, 0)


@pytest.mark.parametrize("size", [0, (8, -1), (8,), 8.5])
def test_refuses_what_is_no_size(size):
    with pytest.raises(ValueError, match=r"size must be a positive int or .* Received: "):
        Resize(size)


def test_refuses_images_of_unknown_size():
    with pytest.raises(ValueError, match=r"known height and width. Received: .*None, 8, 3"):
        Resize(8)(keras.Input((None, 8, 3)))
