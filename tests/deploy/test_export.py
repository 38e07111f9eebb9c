"""Exported models: they give the probabilities of the run's model, and know its classes."""

import json
import os
import runpy

import keras
import numpy as np
import pytest
from PIL import Image
from scipy.special import expit, softmax
from trained import randomize_all, undrawn

from layer_harness import logits_of
from small_vit.cli import export as command
from small_vit.data.image_files import read_image
from small_vit.deploy import check
from small_vit.deploy.export import export_run
from small_vit.deploy.formats import FORMATS, check_format, write_format
from small_vit.deploy.predict_script import FITS, predict_script
from small_vit.deploy.serving import ResizeAnySize, serving_model
from small_vit.errors import InputError
from small_vit.layers import Resize
from small_vit.models.registry import build_classifier, model_config
from small_vit.models.resnet.config import STAGES
from small_vit.report import rewrite
from tiny import TINY

BACKEND = keras.backend.backend()
NAMES = ["zéro", "one", "two"]
only_on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow writes it")


def classifier(**fields):
    """A ViT of `TINY`, from `classifier_of`."""
    return classifier_of(model_config("vit", **(TINY | fields)))


def classifier_of(config):
    """A classifier of random weights, whose images are normalised and resized."""
    normalization = keras.layers.Normalization(
        mean=[100.0, 120.0, 90.0], variance=[900.0, 1600.0, 2500.0], name="normalization"
    )
    with undrawn():
        return randomize_all(build_classifier(config, (12, 10, 3), len(NAMES), normalization))


def random_images(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype="uint8")


def probabilities_of(model, images):
    return softmax(keras.ops.convert_to_numpy(model(images)), axis=1)


# ------------------------------------------------------------------------- the exported model


def test_the_exported_model_gives_probabilities_of_raw_images():
    model, images = classifier(), random_images(4, 12, 10, 3)
    exported = serving_model(model)
    assert exported.inputs[0].dtype == "uint8"
    received = keras.ops.convert_to_numpy(exported(images))
    np.testing.assert_allclose(received, probabilities_of(model, images), atol=1e-6)


def test_it_computes_in_float32_whatever_the_run_did():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = classifier()
    finally:
        keras.config.set_dtype_policy("float32")
    exported = serving_model(model)
    (inner,) = [layer for layer in exported.layers if isinstance(layer, keras.Model)]
    assert {layer.compute_dtype for layer in inner.layers} == {"float32"}
    expected, images = classifier(), random_images(4, 12, 10, 3)
    expected.set_weights(model.get_weights())
    received = keras.ops.convert_to_numpy(exported(images))
    np.testing.assert_allclose(received, probabilities_of(expected, images), atol=1e-6)


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_one_output_becomes_the_probabilities_of_two_classes(activation):
    images = keras.Input((4, 4, 1))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(images))
    model = keras.Model(images, keras.layers.Dense(1, activation=activation)(pooled))
    model.layers[-1].set_weights([np.array([[2.0]]), np.array([-0.5])])
    pixels = random_images(5, 4, 4, 1)
    second = expit(2 * pixels.mean(axis=(1, 2, 3)) / 255 - 0.5)
    received = keras.ops.convert_to_numpy(serving_model(model)(pixels))
    np.testing.assert_allclose(received, np.stack([1 - second, second], 1), atol=1e-6)


@pytest.mark.parametrize("old", [(12, 10), (30, 25), (7, 40), (5, 6), (1, 1)])
def test_images_of_any_size_are_resized_as_by_resize(old):
    images = random_images(2, *old, 3)
    received = keras.ops.convert_to_numpy(ResizeAnySize((12, 10))(images))
    expected = keras.ops.convert_to_numpy(Resize((12, 10))(images))
    np.testing.assert_allclose(received, expected, atol=1e-3)


# ----------------------------------------------------------------------------------- formats


def write_and_load(format, model, folder, image_shape=(12, 10, 3), int8=False):
    """Write a model and its predict.py; return the latter's function to probabilities."""
    write_format(format, model, folder, {"class_names": NAMES}, int8)
    (folder / "predict.py").write_text(predict_script(format, image_shape, "crop"))
    return runpy.run_path(str(folder / "predict.py"))["load"]()


def skip_without(format):
    if BACKEND not in FORMATS[format].writers:
        pytest.skip(f"Keras on {BACKEND} cannot write it")
    for module in (*FORMATS[format].writers[BACKEND], FORMATS[format].runtime):
        pytest.importorskip(module)


# To export takes seconds, so that each case also looks at what another might.
@pytest.mark.parametrize("format", [name for name in FORMATS if name != "litert"])
def test_a_format_gives_the_models_probabilities(format, tmp_path):
    skip_without(format)
    model = classifier()
    predict = write_and_load(format, serving_model(model), tmp_path)
    for count in (1, 5):
        images = random_images(count, 12, 10, 3, seed=count)
        np.testing.assert_allclose(predict(images), probabilities_of(model, images), atol=1e-5)
    if format == "onnx":
        assert_onnx_has_one_operator_each(tmp_path / "model.onnx")
        from small_vit.deploy.onnx_graph import quantize_onnx  # needs onnx

        quantize_onnx(tmp_path / "model.onnx")
        predict = runpy.run_path(str(tmp_path / "predict.py"))["load"]()
        assert 0 < np.abs(predict(images) - probabilities_of(model, images)).max() < 0.1


def assert_onnx_has_one_operator_each(path):
    """GELU and normalisation are single operators, the weights no inputs, the names inside."""
    import onnx

    written = onnx.load(path)
    operators = [node.op_type for node in written.graph.node]
    assert operators.count("Gelu") == 2  # after both layers of the block's MLP
    assert operators.count("LayerNormalization") == 4  # two in the block; tokenization, head
    assert "Erfc" not in operators
    assert [each.name for each in written.graph.input] == ["images"]
    metadata = {each.key: json.loads(each.value) for each in written.metadata_props}
    assert metadata == {"classes": NAMES}


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("vit", TINY),
        ("vit", TINY | {"conv_layers": 1, "patch_size": 1, "shifts": "none"}),
        ("cct", {"image_size": 8, "projection_dim": 8, "num_layers": 1, "num_heads": 2}),
        ("resnet", {"image_size": 8, "depth": 20}),
        ("resnet", {"image_size": 8, "depth": 18, "stem": "large"}),
    ],
    ids=["vit", "hybrid", "cct", "resnet20", "resnet18"],
)
def test_every_family_is_exported(kind, fields, tmp_path, monkeypatch):
    for depth in (18, 20):
        monkeypatch.setitem(STAGES, depth, ((4, 1), (6, 1)))
    model, images = classifier_of(model_config(kind, **fields)), random_images(3, 12, 10, 3)
    predict = write_and_load("keras", serving_model(model), tmp_path)
    np.testing.assert_allclose(predict(images), softmax(logits_of(model, images), 1), atol=1e-5)


def test_litert_takes_images_of_any_size(tmp_path):
    skip_without("litert")
    model = classifier(image_size=16)
    predict = write_and_load("litert", serving_model(model, any_size=True), tmp_path)
    for count, size in ((1, (12, 10)), (2, (30, 25)), (3, (5, 40))):
        images = random_images(count, *size, 3)
        expected = probabilities_of(model, Resize((12, 10))(images))
        np.testing.assert_allclose(predict(images), expected, atol=1e-4)


def test_litert_in_int8_stays_close_and_is_smaller(tmp_path):
    skip_without("litert")
    model, images = classifier(projection_dim=64, mlp_ratio=8), random_images(16, 12, 10, 3)
    predict = write_and_load("litert", serving_model(model), tmp_path, int8=True)
    difference = np.abs(predict(images) - probabilities_of(model, images))
    assert 0 < difference.max() < 0.1
    assert (tmp_path / "model.tflite").stat().st_size < 0.75 * 4 * model.count_params()


def test_what_cannot_be_written_names_what_can(monkeypatch):
    with pytest.raises(InputError, match=r"on jax cannot write --format litert.*--backend tensorf"):
        check_format("litert", "jax")
    with pytest.raises(InputError, match=r"or --format keras\."):
        check_format("onnx", "torch")
    with pytest.raises(
        InputError, match=r"saved_model cannot be written so.*keras or onnx or litert"
    ):
        check_format("saved_model", "tensorflow", int8=True)
    with pytest.raises(InputError, match=r"--input-size any.*Choose --backend tensorflow"):
        check_format("onnx", "jax", any_size=True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs onnx, onnxscript, tf2onnx.*\[export\]"):
        check_format("onnx", "tensorflow")


# -------------------------------------------------------------------------------- predict.py


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("channels", [1, 3])
def test_predict_py_reads_images_as_the_run_does(fit, channels, tmp_path):
    script = tmp_path / "predict.py"
    script.write_text(predict_script("onnx", (12, 20, channels), fit))
    read = runpy.run_path(str(script))["read"]
    pixels = random_images(300, 401, 4)
    pictures = {
        "colour.png": Image.fromarray(pixels[..., :3]),
        "clear.png": Image.fromarray(pixels),
        "grey.png": Image.fromarray(pixels[..., 0]),
        "photo.jpg": Image.fromarray(pixels[..., :3]),
        "deep.png": Image.fromarray(pixels[..., 0].astype(np.uint16) * 201),
    }
    for name, picture in pictures.items():
        turned = picture.getexif()
        turned[0x0112] = 6
        picture.save(tmp_path / name, exif=turned)
        expected = read_image(tmp_path / name, (12, 20), channels, fit)
        np.testing.assert_array_equal(read(tmp_path / name), expected)


# ----------------------------------------------------------------------------------- command


@only_on_tensorflow
def test_a_run_is_exported_and_checked(run, tmp_path, capfd, monkeypatch):
    skip_without("onnx")
    out, result = tmp_path / "export", json.loads((run / "result.json").read_text())
    monkeypatch.setattr(rewrite, "fingerprint", lambda dataset: result["data_fingerprint"])
    arguments = [str(run), "--check", "--input-size", "any", "--out", str(out)]
    assert command.main(arguments) == 0
    assert "Passed: probabilities that differ by at most 0.0001." in capfd.readouterr().out
    about = json.loads((out / "export.json").read_text())
    assert about["check"]["largest_difference"] < 1e-5
    assert about["check"]["accuracy"] == about["check"]["accuracy_of_run"]
    assert about["check"]["accuracy"] == pytest.approx(result["metrics"]["accuracy"])
    assert set(about["check"]["latency_ms"]) == {"1", "32"}
    assert json.loads((out / "classes.json").read_text()) == [str(digit) for digit in range(10)]
    predict = runpy.run_path(str(out / "predict.py"))["load"]()
    assert predict(random_images(2, 20, 9, 1)).shape == (2, 10)

    about["check"]["passed"] = False
    assert command._report(out, about) == 1
    assert "the check has failed. It asks for probabilities" in capfd.readouterr().err


@pytest.mark.any_backend
def test_what_the_check_compares():
    expected = np.array([[0.7, 0.3], [0.2, 0.8], [0.4, 0.6], [0.1, 0.9]])
    received = expected + np.array([[0.001, -0.001], [0, 0], [0.15, -0.15], [0, 0]])
    for int8, passed in ((False, False), (True, False)):
        compared = check.compare(received, expected, np.array([0, 1, 1, 0]), int8)
        assert compared["largest_difference"] == pytest.approx(0.15)
        assert (compared["agreement"], compared["passed"]) == (0.75, passed)
        assert (compared["accuracy"], compared["accuracy_of_run"]) == (0.5, 0.75)
    same = expected + np.array([0.001, -0.001])
    for int8, passed in ((False, False), (True, True)):
        assert check.compare(same, expected, np.zeros(4), int8)["passed"] is passed
    assert check.compare(expected + np.array([5e-5, -5e-5]), expected, np.zeros(4))["passed"]


def test_without_check_export_json_says_what_it_is(run):
    folder, about = export_run(run, "keras")
    assert folder == run / "exports" / "keras"
    assert sorted(path.name for path in folder.iterdir()) == [
        "classes.json",
        "export.json",
        "model.keras",
        "predict.py",
    ]
    assert (about["format"], about["image_shape"], about["fit"]) == ("keras", [8, 8, 1], "crop")
    assert json.loads((folder / "export.json").read_text()) == about


def test_the_folder_may_be_the_current_one(run, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    export_run(run, "keras", out=".")
    assert (tmp_path / "here" / "model.keras").exists()


def test_other_files_are_not_replaced(run, tmp_path):
    (tmp_path / "thesis.txt").write_text("…")
    with pytest.raises(InputError, match="holds something else"):
        export_run(run, "keras", out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no model"):
        export_run(tmp_path, "keras")


@pytest.mark.any_backend
def test_the_backend_is_one_that_can_write_the_format(tmp_path, monkeypatch):
    (tmp_path / "environment.json").write_text('{"backend": "jax"}')
    for format, backend in (("keras", "jax"), ("onnx", "tensorflow")):
        monkeypatch.delenv("KERAS_BACKEND", raising=False)
        command._import_keras(command.CommandLine(run=tmp_path, format=format))
        assert os.environ["KERAS_BACKEND"] == backend
