"""A trained model used from the shell: what it is given, and what it refuses."""

import csv
import json
import os
import sys
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image
from scipy.special import expit, softmax

from small_vit.cli import predict
from small_vit.data.image_files import read_image
from small_vit.errors import InputError
from small_vit.results import image_predictions
from small_vit.results.saved_model import class_probabilities, kind_of_outputs, load_model

pytestmark = pytest.mark.any_backend


def save_model(path, *shape, classes=3, activation=None, behind=()):
    """Save a classifier of the mean level: 0 for black to 1 for white, times the class's index.

    Args:
        path: The file.
        *shape: (height, width, channels).
        classes: Number of outputs; a single one is that of index 1.
        activation: Of the layer whose outputs these are.
        behind: Layers behind that.
    """
    mean = [keras.layers.Rescaling(1 / 255), keras.layers.GlobalAveragePooling2D()]
    weigh = keras.layers.Dense(classes, activation=activation, use_bias=False)
    model = keras.Sequential([keras.Input(shape), *mean, weigh, *behind])
    indices = np.arange(classes) if classes > 1 else [1]
    weigh.set_weights([np.repeat([indices], shape[-1], axis=0) / shape[-1]])
    model.save(path)


def run(capsys, *arguments):
    """Run the command line in this process; return its exit code, output and errors."""
    code = predict.main([*map(str, arguments)])
    return code, *capsys.readouterr()


def refused(capsys, *arguments):
    """Run the command line in this process; return the message it ends with."""
    with pytest.raises(SystemExit) as stop:
        predict.main([*map(str, arguments)])
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
@pytest.mark.parametrize(
    ("activation", "behind"),
    [
        pytest.param(None, (), id="logits"),
        pytest.param("softmax", (), id="softmax"),
        pytest.param(None, (keras.layers.Softmax,), id="softmax-layer"),
        pytest.param("softmax", (keras.layers.Softmax,), id="twice-softmax"),
        pytest.param(None, (lambda: keras.layers.Activation("softmax"),), id="activation-layer"),
    ],
)
def test_the_most_probable_classes_are_printed_by_name(
    activation, behind, channels, classes, photo, tmp_path, capsys
):
    path, head = tmp_path / "model.keras", [make() for make in behind]
    save_model(path, 8, 6, channels, classes=classes, activation=activation, behind=head)
    names = [f"name {index}" for index in range(classes)]
    (tmp_path / "classes.json").write_text(json.dumps(names))
    shares = np.arange(classes)
    # Each softmax is the model's own but the one that makes logits probabilities.
    for _ in range(max(1, len(behind) + (activation is not None))):
        shares = softmax(shares)
    best = sorted(zip(shares, names, strict=True), reverse=True)[:5]
    block = [str(photo), *(f"  {share:7.2%}  {name}" for share, name in best)]
    code, out, error = run(capsys, tmp_path, photo, photo)
    assert (code, out.splitlines(), error) == (0, block * 2, "")


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_a_single_output_is_that_of_the_second_of_two_classes(activation, photo, tmp_path, capsys):
    save_model(tmp_path / "model.keras", 8, 6, 3, classes=1, activation=activation)
    share = expit(1)
    for names in (["class 0", "class 1"], ["cat", "dog"]):
        block = [str(photo), f"  {share:7.2%}  {names[1]}", f"  {1 - share:7.2%}  {names[0]}"]
        assert run(capsys, tmp_path, photo)[1].splitlines() == block
        (tmp_path / "classes.json").write_text('["cat", "dog"]')


def test_the_last_layer_is_found_in_models_within_models():
    images = keras.Input((8, 6, 3))
    for activation, kind in (("softmax", "probabilities"), ("linear", "logits")):
        layers = [keras.layers.Flatten(), keras.layers.Dense(3, activation=activation)]
        inner = keras.Sequential([keras.Input((8, 6, 3)), *layers])
        functional = keras.Model(images, inner(images))
        for model in (inner, functional, keras.Sequential([keras.Input((8, 6, 3)), functional])):
            assert kind_of_outputs(model) == kind


UNTOLD = {
    "relu": (3, lambda x: keras.layers.Dense(3, activation="relu")(x)),
    "sigmoid": (3, lambda x: keras.layers.Dense(3, activation="sigmoid")(x)),
    "softmax": (1, lambda x: keras.layers.Dense(1, activation="softmax")(x)),
    "Softmax": (3, lambda x: keras.ops.softmax(keras.layers.Dense(3)(x))),
    "Average": (3, lambda x: keras.layers.Average()([x, x])),
    # Often used to turn half precision into float32, behind logits as behind probabilities.
    "linear": (3, lambda x: keras.layers.Activation("linear", dtype="float32")(x)),
    "LeakyReLU": (3, lambda x: keras.layers.Dense(3, activation=keras.layers.LeakyReLU())(x)),
}


@pytest.mark.parametrize("name", UNTOLD)
def test_a_last_layer_that_does_not_tell_is_refused(name, photo, tmp_path, capsys):
    units, head = UNTOLD[name]
    images = keras.Input((8, 6, 3))
    model = keras.Model(images, head(keras.layers.GlobalAveragePooling2D()(images)))
    model.save(tmp_path / "other.keras")
    error = refused(capsys, tmp_path / "other.keras", photo)
    assert f"does not show whether its {units} outputs are logits or probabilities" in error
    assert name in error.split("Received: ")[1]
    assert "Set --outputs." in error


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_what_the_last_layer_does_not_tell_can_be_said(kind, photo, tmp_path, capsys):
    activation = "softmax" if kind == "probabilities" else None
    behind = [keras.layers.Dropout(0.5)]
    save_model(tmp_path / "other.keras", 8, 6, 3, activation=activation, behind=behind)
    arguments = (tmp_path / "other.keras", photo, "--outputs", kind)
    code, out, _ = run(capsys, *arguments)
    assert (code, out.splitlines()[1]) == (0, f"  {softmax([0, 1, 2])[2]:7.2%}  class 2")


def test_outputs_that_are_no_probabilities_are_refused(photo, tmp_path, capsys):
    model = tmp_path / "other.keras"
    save_model(model, 8, 6, 3, activation="sigmoid")
    error = refused(capsys, model, photo, "--outputs", "probabilities")
    assert (
        "not probabilities of classes that exclude each other. Received: values from 0.5" in error
    )
    save_model(model, 8, 6, 3, behind=[keras.layers.Rescaling(float("nan"))])
    error = refused(capsys, model, photo, "--outputs", "logits")
    assert "not logits of classes that exclude each other. Received: values from nan" in error


@pytest.mark.parametrize(
    ("outputs", "kind", "expected"),
    [
        ([[0.5, 0.5], [0.0, 1.0]], "probabilities", [[0.5, 0.5], [0.0, 1.0]]),
        # They might be logits, and are if they are said to be.
        ([[0.5, 0.5], [0.0, 1.0]], "logits", [[0.5, 0.5], [1 - expit(1), expit(1)]]),
        ([[0.25], [1.0]], "probabilities", [[0.75, 0.25], [0.0, 1.0]]),
        ([[-1.0], [200.0]], "logits", [[1 - expit(-1), expit(-1)], [0.0, 1.0]]),
        ([[0.3340, 0.3330, 0.3310]], "probabilities", [[0.3340, 0.3330, 0.3310]]),
    ],
)
def test_probabilities_of_outputs(outputs, kind, expected):
    probabilities = class_probabilities(np.array(outputs), kind)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)


@pytest.mark.parametrize("outputs", [[[0.5, 0.4]], [[-0.1, 1.1]], [[1.5]], [[float("nan")] * 2]])
def test_what_cannot_be_probabilities_is_refused(outputs):
    with pytest.raises(InputError, match="not probabilities"):
        class_probabilities(np.array(outputs), "probabilities")


def test_without_names_classes_are_numbered(tmp_path):
    save_model(tmp_path / "other.keras", 8, 6, 3)
    assert load_model(tmp_path / "other.keras")[1] == ["class 0", "class 1", "class 2"]


@pytest.mark.filterwarnings("ignore")  # Keras calls the format legacy.
def test_a_model_in_the_older_format_predicts(photo, tmp_path, capsys):
    save_model(tmp_path / "older.h5", 8, 6, 3, activation="softmax")
    assert run(capsys, tmp_path / "older.h5", photo)[0] == 0
    assert load_model(tmp_path / "older.h5")[1] == ["class 0", "class 1", "class 2"]


def test_prediction_refuses_what_it_cannot_use(tmp_path):
    with pytest.raises(InputError, match=r"holds no model\.keras"):
        load_model(tmp_path)
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("notes.txt", "no model")
    with pytest.raises(InputError, match=r"other\.keras is no saved model"):
        load_model(tmp_path / "other.keras")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="has not ended"):
        load_model(tmp_path)
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(InputError, match=r"notes\.txt as an image"):
        read_image(tmp_path / "notes.txt", (8, 8))
    with pytest.raises(InputError, match=r"absent\.png as an image: No such file"):
        read_image(tmp_path / "absent.png", (8, 8))


def test_an_image_is_to_be_named(tmp_path, capsys):
    save_model(tmp_path / "model.keras", 8, 6, 3)
    assert "Name at least one image file or folder after" in refused(capsys, tmp_path)


@pytest.mark.parametrize("name", ["absent", "absent.keras"])
def test_a_missing_path_is_told_as_such(name, photo, tmp_path, capsys):
    error = refused(capsys, tmp_path / name, photo)
    assert f"There is no {tmp_path / name}." in error


def test_of_a_comparison_one_run_is_to_be_named(photo, tmp_path, capsys):
    comparison = tmp_path / "comparison"
    runs = [comparison / name for name in ("spt+lsa-seed0", "vanilla-seed0")]
    for run in runs:
        run.mkdir(parents=True)
        (run / "config.json").write_text("{}")
    (comparison / "sweep.json").write_text("{}")
    (comparison / "pictures").mkdir()
    error = refused(capsys, comparison, photo)
    assert f"Name one of them: {runs[0]}, {runs[1]}." in error


@pytest.mark.parametrize("shape", [(None, None, 3), (8, None, 3), (8, 6, 2), (8, 6, 4)])
def test_a_model_that_takes_no_images_of_one_size_is_refused(shape, photo, tmp_path, capsys):
    save_model(tmp_path / "other.keras", *shape)
    error = refused(capsys, tmp_path / "other.keras", photo)
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
            load_model(tmp_path / "other.keras")
        assert message in str(error.value)


@pytest.mark.parametrize(
    ("names", "received"),
    [
        (["cat", "dog"], "2 names"),
        (["cat"] * 4, "4 names"),
        ({"0": "a", "1": "b", "2": "c"}, "dict"),
    ],
)
def test_names_that_are_not_one_a_class_are_refused(names, received, photo, tmp_path, capsys):
    save_model(tmp_path / "model.keras", 8, 6, 3)
    (tmp_path / "classes.json").write_text(json.dumps(names))
    error = refused(capsys, tmp_path, photo)
    assert f"{tmp_path / 'classes.json'} must be a list of 3 names" in error
    assert f"Received: {received}." in error


# ---------------------------------------------------------------------------------- many images


@pytest.fixture
def ramp(tmp_path):
    """Ten images, of the levels 0, 20, …, 180."""
    paths = [tmp_path / f"{level}.png" for level in range(0, 200, 20)]
    for path in paths:
        Image.new("L", (12, 10), int(path.stem)).save(path)
    return paths


def table(path):
    """The rows of a CSV file: its first, and the others."""
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return header, rows


@pytest.mark.parametrize("batch_size", [4, 5, 32])
def test_a_table_has_a_row_for_each_image(batch_size, ramp, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(predict, "BATCH_SIZE", batch_size)
    save_model(tmp_path / "model.keras", 8, 6, 1)
    (tmp_path / "classes.json").write_text('["a, b", "class", "ü"]')
    out = tmp_path / "table.csv"
    code, printed, error = run(capsys, tmp_path, *ramp, "--csv", out)
    assert (code, printed, error) == (0, f"Written to {out}\n", "")
    header, rows = table(out)
    assert header == ["file", "class", "probability", "a, b", "class", "ü"]
    assert [row[0] for row in rows] == [str(path) for path in ramp]
    shares = softmax([[int(path.stem) / 255 * index for index in range(3)] for path in ramp], 1)
    numbers = np.array([row[2:] for row in rows], float)
    np.testing.assert_allclose(numbers[:, 1:], shares, rtol=1e-5)
    np.testing.assert_array_equal(numbers[:, 0], numbers[:, 1:].max(1))
    # Black has no most probable class: its first is named.
    assert [row[1] for row in rows] == ["a, b"] + ["ü"] * 9


def test_few_images_are_in_memory_at_a_time(ramp, tmp_path, monkeypatch, capsys):
    save_model(tmp_path / "model.keras", 8, 6, 1)
    monkeypatch.setattr(predict, "BATCH_SIZE", 4)
    events = []
    step = keras.Sequential.predict_on_batch
    monkeypatch.setattr(
        image_predictions, "read_image", lambda *a: (events.append("read"), read_image(*a))[1]
    )
    monkeypatch.setattr(
        keras.Sequential,
        "predict_on_batch",
        lambda model, images: (events.append(len(images)), step(model, images))[1],
    )
    run(capsys, tmp_path, *ramp * 3)
    # One size, so that the last batch is not compiled for itself.
    assert [event for event in events if event != "read"] == [4] * 8
    assert events.count("read") == 30
    in_memory = np.cumsum([1 if event == "read" else -event for event in events])
    assert in_memory.max() <= 2 * 4  # a batch, and the next one


@pytest.mark.parametrize("into_a_table", [False, True])
def test_an_unreadable_image_does_not_cost_the_others(
    into_a_table, ramp, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(predict, "BATCH_SIZE", 3)
    save_model(tmp_path / "model.keras", 8, 6, 1)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "empty.png").touch()
    bad = [tmp_path / "notes.txt", tmp_path / "absent.png", tmp_path / "empty.png"]
    images = [bad[0], *ramp[:4], bad[1], *ramp[4:], bad[2]]
    out = tmp_path / "table.csv"
    arguments = ["--csv", out] if into_a_table else []
    code, printed, error = run(capsys, tmp_path, *images, *arguments)
    assert code == 1
    messages = error.splitlines()
    assert len(messages) == 3
    for path, message in zip(bad, messages, strict=True):
        assert message.startswith(f"error: Cannot read {path} as an image: ")
    named = [line for line in printed.splitlines() if line.endswith(".png")]
    assert [str(path) for path in ramp] == (
        [row[0] for row in table(out)[1]] if into_a_table else named
    )


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' names are text")
def test_a_files_name_need_not_be_text(tmp_path, capsysbinary):
    save_model(tmp_path / "model.keras", 8, 6, 1)
    name, out = tmp_path / os.fsdecode(b"caf\xe9.png"), tmp_path / "table.csv"
    Image.new("L", (12, 10)).save(name)
    code, printed, _ = run(capsysbinary, tmp_path, name)
    assert (code, printed.splitlines()[0]) == (0, os.fsencode(name))
    assert run(capsysbinary, tmp_path, name, "--csv", out)[0] == 0
    assert out.read_bytes().splitlines()[1].startswith(os.fsencode(name) + b",")


def test_where_no_image_can_be_read_the_table_is_empty(tmp_path, capsys):
    save_model(tmp_path / "model.keras", 8, 6, 1)
    out = tmp_path / "table.csv"
    assert run(capsys, tmp_path, tmp_path / "absent.png", "--csv", out)[0] == 1
    assert table(out) == (["file", "class", "probability", "class 0", "class 1", "class 2"], [])


def test_a_table_that_is_not_finished_leaves_the_old_one(ramp, tmp_path, capsys):
    save_model(tmp_path / "model.keras", 8, 6, 1, activation="sigmoid")
    out = tmp_path / "table.csv"
    out.write_text("old")
    files = set(tmp_path.iterdir())
    arguments = (tmp_path, *ramp, "--csv", out, "--outputs", "probabilities")
    refused(capsys, *arguments)
    assert (out.read_text(), set(tmp_path.iterdir())) == ("old", files)


@pytest.mark.parametrize(
    ("name", "message"),
    [("absent/table.csv", "No such file"), ("", "--csv must name a file")],
)
def test_a_table_that_cannot_be_written_is_refused_at_once(
    name, message, ramp, tmp_path, monkeypatch, capsys
):
    save_model(tmp_path / "model.keras", 8, 6, 1)
    monkeypatch.setattr(image_predictions, "read_image", None)
    error = refused(capsys, tmp_path, *ramp, "--csv", tmp_path / name)
    assert message in error


@pytest.mark.parametrize(
    ("out_is_terminal", "error_is_terminal", "into_a_table", "shown"),
    [
        pytest.param(True, True, True, True, id="table"),
        pytest.param(False, True, False, True, id="results-into-a-file"),
        pytest.param(True, True, False, False, id="results-on-the-terminal"),
        pytest.param(True, False, True, False, id="errors-into-a-file"),
    ],
)
def test_progress_is_shown_on_a_terminal_that_shows_no_results(
    out_is_terminal, error_is_terminal, into_a_table, shown, ramp, tmp_path, monkeypatch, capsys
):
    save_model(tmp_path / "model.keras", 8, 6, 1)
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: out_is_terminal)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: error_is_terminal)
    arguments = ["--csv", tmp_path / "table.csv"] if into_a_table else []
    code, out, error = run(capsys, tmp_path, *ramp, *arguments)
    assert code == 0
    assert ("images, left" in error) == shown
    assert "images, left" not in out


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


def test_a_damaged_image_is_refused(tmp_path):
    """The second of a large image's chunks has lost its name."""
    path, noise = tmp_path / "damaged.png", np.random.default_rng(0).bytes(3 * 200 * 200)
    Image.frombytes("RGB", (200, 200), noise).save(path)
    before, first, second = path.read_bytes().split(b"IDAT")
    path.write_bytes(before + b"IDAT" + first + bytes(4) + second)
    with pytest.raises(InputError, match=r"damaged\.png as an image: broken PNG file"):
        read_image(path, (8, 8))


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
