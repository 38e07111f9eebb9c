"""The program next to an exported model, which runs it without Keras."""

RUNTIMES = {
    "keras": (
        "keras and small_vit",
        """\
    import keras

    import small_vit.deploy.serving

    model = keras.saving.load_model(HERE / "model.keras", compile=False)
    return model.predict_on_batch""",
    ),
    "saved_model": (
        "tensorflow",
        """\
    import tensorflow

    model = tensorflow.saved_model.load(str(HERE / "model"))
    return lambda images: model.serve(images).numpy()""",
    ),
    "onnx": (
        "onnxruntime",
        """\
    import onnxruntime

    session = onnxruntime.InferenceSession(HERE / "model.onnx", providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})[0]""",
    ),
    "litert": (
        "ai-edge-litert",
        """\
    import os

    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(HERE / "model.tflite"), num_threads=os.cpu_count())
    run = interpreter.get_signature_runner()
    return lambda images: next(iter(run(images=images).values()))""",
    ),
    "openvino": (
        "openvino",
        """\
    import openvino

    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.compile_model(HERE / "model.xml", "CPU", exact)
    return lambda images: model(images)[0]""",
    ),
}
"""By format: what to install, and the body of `load`."""

FITS = {
    "crop": "ImageOps.fit(image, SIZE, Image.Resampling.BILINEAR)",
    "squash": "image.resize(SIZE, Image.Resampling.BILINEAR)",
    "pad": "ImageOps.pad(image, SIZE, Image.Resampling.BILINEAR)",
}
"""By `DataConfig.fit`: how an image becomes the model's size, as in training."""

SCRIPT = '''\
"""Classify images: python predict.py IMAGE…  It needs numpy, pillow and {packages}."""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent
SIZE = {size}  # (width, height) of the images that the model takes


def load():
    """Return the function from uint8 images (batch, height, width, channels) to probabilities."""
{load}


def read(path):
    image = Image.open(path)
    image.draft(None, ({enough}, {enough}))  # a JPEG is decoded no larger than needed
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    if image.mode.startswith("I"):  # 16 bits, which convert would clip at 255
        image = Image.fromarray(np.round(np.asarray(image) / 257).astype("uint8"))
    image = image.convert("{mode}")
    return np.atleast_3d({fit})


if __name__ == "__main__":
    names, predict = json.loads((HERE / "classes.json").read_text(encoding="utf-8")), load()
    for path in sys.argv[1:]:
        probabilities = predict(read(path)[None])[0]
        print(path)
        for index in probabilities.argsort()[::-1][:5]:
            print(f"  {{probabilities[index]:7.2%}}  {{names[index]}}")
'''


def predict_script(format, image_shape, fit):
    """Return the text of predict.py.

    Args:
        format: One of `RUNTIMES`.
        image_shape: (height, width, channels) of the model's images.
        fit: How an image becomes that size (`DataConfig.fit`).
    """
    height, width, channels = image_shape
    packages, load = RUNTIMES[format]
    return SCRIPT.format(
        packages=packages,
        load=load,
        size=(width, height),
        enough=max(128, 2 * height, 2 * width),  # as in `decode_image`
        mode="L" if channels == 1 else "RGB",
        fit=FITS[fit],
    )
