"""The formats that a trained model is exported to."""

import importlib.util
import json
import logging
import warnings
import zipfile
from dataclasses import dataclass

from small_vit.errors import InputError


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        file: Name of the file or folder that holds the model.
        writers: By Keras backend that can write it, the preferred one first: modules that are
            needed beside the backend.
        runtime: Module that runs it.
        int8: Whether it can be quantized.
    """

    file: str
    writers: dict[str, tuple[str, ...]]
    runtime: str
    int8: bool = True


ONNX_WRITERS = {
    "tensorflow": ("onnx", "onnxscript", "tf2onnx"),
    "jax": ("onnx", "onnxscript", "jax2onnx"),
}
FORMATS: dict[str, Format] = {
    "keras": Format("model.keras", dict.fromkeys(("tensorflow", "jax", "torch"), ()), "keras"),
    "saved_model": Format("model", {"tensorflow": ()}, "tensorflow", int8=False),
    "onnx": Format("model.onnx", ONNX_WRITERS, "onnxruntime"),
    "litert": Format("model.tflite", {"tensorflow": ()}, "ai_edge_litert"),
    "openvino": Format(
        "model.xml",
        {backend: (*modules, "openvino") for backend, modules in ONNX_WRITERS.items()},
        "openvino",
        int8=False,
    ),
}
"""The formats by name."""


def check_format(name, backend, int8=False, any_size=False, run_it=False):
    """Check that a format can be written here.

    Args:
        name: One of `FORMATS`.
        backend: The Keras backend in use.
        int8: Whether it is to be quantized.
        any_size: Whether it is to take images of any size.
        run_it: Whether its runtime is needed too.

    Raises:
        InputError: if the backend cannot write it so, it cannot be int8, or a package is missing.
    """
    chosen = FORMATS[name]
    if backend not in chosen.writers:
        others = [each for each in FORMATS if backend in FORMATS[each].writers]
        raise InputError(
            f"Keras on {backend} cannot write --format {name}. Choose --backend "
            f"{next(iter(chosen.writers))}, whatever the run was trained on, or --format "
            f"{' or '.join(others)}."
        )
    if int8 and not chosen.int8:
        others = [each for each in FORMATS if FORMATS[each].int8]
        raise InputError(
            f"--int8: {name} cannot be written so. Choose --format {' or '.join(others)}."
        )
    if any_size and backend == "jax" and name != "keras":
        raise InputError(
            f"--input-size any: Keras on jax cannot write {name} so. Choose --backend tensorflow."
        )
    needed = chosen.writers[backend] + (chosen.runtime,) * run_it
    missing = [each for each in needed if importlib.util.find_spec(each) is None]
    if missing:
        raise InputError(
            f"--format {name} needs {', '.join(missing)}, which is not installed. Install it with "
            f"pip install -e '.[export]'{' jax2onnx' * ('jax2onnx' in missing)}."
        )


def write_format(name, model, folder, about, int8=False):
    """Write a model in a format.

    Args:
        name: One of `FORMATS`, checked.
        model: From `serving_model`; Keras's own format quantizes it in place.
        folder: An existing folder; the file in it is named as `FORMATS` says.
        about: Dict of what is kept inside where the format has a place for it: `class_names`, and
            for Keras all that `about_model` says.
        int8: Whether to quantize the weights to int8; the activations are then quantized in each
            call, with the range that they have in it.
    """
    _WRITERS[name](model, folder / FORMATS[name].file, about, int8)


def _write_keras(model, path, about, int8):
    from small_vit.results.run_directory import ABOUT

    if int8:
        with warnings.catch_warnings():  # one for each layer without weights
            warnings.simplefilter("ignore", UserWarning)
            model.quantize("int8")
    model.save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(ABOUT, json.dumps(about))


def _write_saved_model(model, path, about, int8):
    model.export(path, format="tf_saved_model", verbose=False)


def _write_onnx(model, path, about, int8):
    import keras

    from small_vit.deploy.onnx_graph import finish_onnx, quantize_onnx

    # It reports GELU's operator, which is replaced next, as an error.
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    # Version 18 of the operators is the newest that tf2onnx writes.
    images = keras.InputSpec(shape=model.input_shape, dtype="uint8", name="images")
    options = {"input_signature": [images], "opset_version": 18, "verbose": False}
    with warnings.catch_warnings():  # of NumPy, about Keras's repairs of tf2onnx
        warnings.simplefilter("ignore", FutureWarning)
        model.export(path, format="onnx", **options)
    finish_onnx(path, about["class_names"])
    if int8:
        quantize_onnx(path)


def _write_litert(model, path, about, int8):
    options = {}
    if int8:
        import tensorflow as tf

        options = {"optimizations": [tf.lite.Optimize.DEFAULT]}
    model.export(path, format="litert", verbose=False, **options)


def _write_openvino(model, path, about, int8):
    import openvino

    # From ONNX, where normalisation and GELU are single operators.
    between = path.with_name("between.onnx")
    _write_onnx(model, between, about, int8=False)
    converted = openvino.convert_model(between)
    converted.set_rt_info(about["class_names"], ["model_info", "labels"])
    openvino.save_model(converted, path, compress_to_fp16=False)
    between.unlink()


_WRITERS = {
    "keras": _write_keras,
    "saved_model": _write_saved_model,
    "onnx": _write_onnx,
    "litert": _write_litert,
    "openvino": _write_openvino,
}
