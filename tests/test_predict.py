"""A trained model used from the shell: what it is given, and what it refuses."""

import json
import sys
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image

from small_vit import predict
from small_vit.errors import InputError
from small_vit.images import read_image

pytestmark = pytest.mark.any_backend


def save_model(path, *shape, classes=3):
    """Save a classifier of the mean level: 0 for black to 1 for white, times the class's index."""
    mean = [keras.layers.Rescaling(1 / 255), keras.layers.GlobalAveragePooling2D()]
    weigh = keras.layers.Dense(classes, use_bias=False)
    model = keras.Sequential([keras.Input(shape), *mean, weigh])
    weights = np.repeat([np.arange(classes)], shape[-1], axis=0) / shape[-1]
    weigh.set_weights([weights])
    model.save(path)


def refused(monkeypatch, capsys, *arguments):
    """Run the command line in this process; return the message it ends with."""
    monkeypatch.setattr(sys, "argv", ["predict", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        predict.main()
    out, error = capsys.readouterr()
    assert (stop.value.code, out) == (2, "")
    assert error.startswith("error: ")
    return error


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.new("RGB", (12, 10), "white").save(path)
    return path


# ---------------------------------------------------------------------------------- the model


@pytest.mark.parametrize(("channels", "classes"), [(1, 7), (3, 2)])
def test_the_most_probable_classes_are_printed_by_name(
    channels, classes, photo, tmp_path, monkeypatch, capsys
):
    save_model(tmp_path / "model.keras", 8, 6, channels, classes=classes)
    names = [f"name {index}" for index in range(classes)]
    (tmp_path / "classes.json").write_text(json.dumps(names))
    monkeypatch.setattr(sys, "argv", ["predict", str(tmp_path), str(photo), str(photo)])
    predict.main()
    logits = np.arange(classes)
    shares = np.exp(logits) / np.exp(logits).sum()
    best = sorted(zip(shares, names, strict=True), reverse=True)[:5]
    block = [str(photo), *(f"  {share:7.2%}  {name}" for share, name in best)]
    assert capsys.readouterr().out.splitlines() == block * 2


def test_without_names_classes_are_numbered(tmp_path):
    save_model(tmp_path / "other.keras", 8, 6, 3)
    assert predict.load_model(tmp_path / "other.keras")[1] == ["class 0", "class 1", "class 2"]


def test_prediction_refuses_what_it_cannot_use(tmp_path):
    with pytest.raises(InputError, match=r"holds no model\.keras"):
        predict.load_model(tmp_path)
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("notes.txt", "no model")
    with pytest.raises(InputError, match=r"other\.keras is no saved model"):
        predict.load_model(tmp_path / "other.keras")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="has not ended"):
        predict.load_model(tmp_path)
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(InputError, match=r"notes\.txt as an image"):
        read_image(tmp_path / "notes.txt", (8, 8))
    with pytest.raises(InputError, match=r"absent\.png as an image: No such file"):
        read_image(tmp_path / "absent.png", (8, 8))


@pytest.mark.parametrize("name", ["absent", "absent.keras"])
def test_a_missing_path_is_told_as_such(name, photo, tmp_path, monkeypatch, capsys):
    error = refused(monkeypatch, capsys, tmp_path / name, photo)
    assert f"There is no {tmp_path / name}." in error


def test_of_a_comparison_one_run_is_to_be_named(photo, tmp_path, monkeypatch, capsys):
    comparison = tmp_path / "comparison"
    runs = [comparison / name for name in ("spt+lsa-seed0", "vanilla-seed0")]
    for run in runs:
        run.mkdir(parents=True)
        (run / "config.json").write_text("{}")
    (comparison / "comparison.json").write_text("{}")
    (comparison / "pictures").mkdir()
    error = refused(monkeypatch, capsys, comparison, photo)
    assert f"Name one of them: {runs[0]}, {runs[1]}." in error


@pytest.mark.parametrize("shape", [(None, None, 3), (8, None, 3), (8, 6, 2), (8, 6, 4)])
def test_a_model_that_takes_no_images_of_one_size_is_refused(
    shape, photo, tmp_path, monkeypatch, capsys
):
    save_model(tmp_path / "other.keras", *shape)
    error = refused(monkeypatch, capsys, tmp_path / "other.keras", photo)
    assert "other.keras must take images" in error
    assert f"a model that takes {(None, *shape)} and gives (None, 3)" in error


def test_a_model_of_other_inputs_or_outputs_is_refused(tmp_path):
    numbers, images = keras.Input((4,)), keras.Input((8, 6, 3))
    classes = keras.layers.Dense(3)(numbers)
    pooled = keras.layers.GlobalAveragePooling2D()(images)
    fixed = keras.Input(batch_shape=(1, 8, 6, 3))
    never_called = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)])
    models = {
        "takes (None, 4) and": keras.Model(numbers, classes),
        "takes [(None, 8, 6, 3), (None, 4)]": keras.Model([images, numbers], [pooled, classes]),
        "takes (1, 8, 6, 3)": keras.Model(fixed, keras.layers.GlobalAveragePooling2D()(fixed)),
        "gives (None, 8, 6, 3)": keras.Model(images, keras.layers.ReLU()(images)),
        "gives [(None, 3), (None, 3)]": keras.Model(images, [pooled, keras.ops.relu(pooled)]),
        "takes None": never_called,
    }
    for message, model in models.items():
        model.save(tmp_path / "other.keras")
        with pytest.raises(InputError) as error:
            predict.load_model(tmp_path / "other.keras")
        assert message in str(error.value)


@pytest.mark.parametrize(
    ("names", "received"),
    [
        (["cat", "dog"], "2 names"),
        (["cat"] * 4, "4 names"),
        ({"0": "a", "1": "b", "2": "c"}, "dict"),
    ],
)
def test_names_that_are_not_one_a_class_are_refused(
    names, received, photo, tmp_path, monkeypatch, capsys
):
    save_model(tmp_path / "model.keras", 8, 6, 3)
    (tmp_path / "classes.json").write_text(json.dumps(names))
    error = refused(monkeypatch, capsys, tmp_path, photo)
    assert f"{tmp_path / 'classes.json'} must be a list of 3 names" in error
    assert f"Received: {received}." in error


# ---------------------------------------------------------------------------------- the images


def test_an_image_is_cropped_about_its_centre(tmp_path):
    """A wide picture: black, a white square in the middle, black."""
    pixels = np.zeros((10, 30, 3), "uint8")
    pixels[:, 10:20] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    assert (read_image(tmp_path / "wide.png", (5, 5)) > 200).all()
    assert read_image(tmp_path / "wide.png", (5, 4), channels=1).shape == (5, 4, 1)


RAMP = np.arange(256).reshape(16, 16)


@pytest.mark.parametrize(
    ("name", "dtype", "mode"),
    [
        ("ramp.png", "<u2", "I;16"),
        ("ramp.tif", "<u2", "I;16"),
        ("ramp.tif", ">u2", "I;16B"),
        ("ramp.tif", "int32", "I"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_scaled_to_8(name, dtype, mode, channels, tmp_path):
    Image.fromarray((RAMP * 257).astype(dtype)).save(tmp_path / name)
    assert Image.open(tmp_path / name).mode == mode
    image = read_image(tmp_path / name, (16, 16), channels)
    np.testing.assert_array_equal(image, np.repeat(RAMP[..., None], channels, axis=2))


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (RAMP / np.float32(255), "floating-point numbers"),
        (RAMP.astype("int32") - 1, "go from -1 to 254"),
        (RAMP.astype("int32") * 258, "go from 0 to 65790"),
    ],
)
def test_levels_of_no_known_range_are_refused(pixels, message, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "levels.tif")
    with pytest.raises(InputError, match=rf"levels\.tif as an image: .*{message}"):
        read_image(tmp_path / "levels.tif", (16, 16))


def test_colours_that_pillow_does_not_convert_are_refused(tmp_path):
    Image.new("LAB", (4, 4)).save(tmp_path / "lab.tif")
    with pytest.raises(InputError, match=r"lab\.tif as an image: .*LAB"):
        read_image(tmp_path / "lab.tif", (4, 4), channels=1)


def test_what_is_transparent_is_put_on_white(tmp_path):
    """Red as it is, half transparent and wholly transparent."""
    pixels = np.zeros((3, 3, 4), "uint8")
    pixels[..., 0] = 255
    pixels[..., 3] = [[255], [127], [0]]
    Image.fromarray(pixels).save(tmp_path / "red.png")
    image = read_image(tmp_path / "red.png", (3, 3))
    assert image[:, 0].tolist() == [[255, 0, 0], [255, 128, 128], [255, 255, 255]]
    assert read_image(tmp_path / "red.png", (3, 3), channels=1)[:, 0, 0].tolist() == [76, 166, 255]


@pytest.mark.parametrize(("mode", "name"), [("P", "x.gif"), ("L", "x.png"), ("RGB", "x.png")])
def test_a_colour_that_stands_for_transparent_is_white(mode, name, tmp_path):
    black = (0, 0, 0) if mode == "RGB" else 0
    Image.new(mode, (4, 4), black).save(tmp_path / name, transparency=black)
    assert (read_image(tmp_path / name, (4, 4)) == 255).all()
