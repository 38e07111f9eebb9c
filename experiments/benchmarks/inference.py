"""Latency of one exported model: `python -m benchmarks.inference CONTENDER FOLDER THREADS`.

It makes one measurement in a process of its own, on as many cores as threads, and prints it as
JSON. `FOLDER` holds the file that the contender reads, and images.npy.
"""

import importlib
import json
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np

SECONDS = 1.0
"""How long a batch size is measured."""


def measure(contender, folder, threads, batch_sizes):
    """Time the predictions of a contender.

    Args:
        contender: One of `CONTENDERS`.
        folder: Folder with its file and images.npy, `Path`.
        threads: Number of threads.
        batch_sizes: Iterable of ints.

    Returns:
        Dict of "load_ms", until the first prediction is there; "latency_ms" by batch size, medians;
        "version" of the runtime.
    """
    open_model, package = CONTENDERS[contender]
    images = np.load(folder / "images.npy")
    started = time.perf_counter()
    predict = open_model(folder, threads)
    predict(images[:1])
    load_ms = 1000 * (time.perf_counter() - started)
    latency = {size: _latency_ms(predict, images[:size]) for size in batch_sizes}
    version = getattr(importlib.import_module(package), "__version__", None)
    return {"load_ms": round(load_ms), "latency_ms": latency, "version": version}


def _latency_ms(predict, images):
    """The median of the calls that fit into `SECONDS`, at least five, after two to warm up."""
    times, end = [], time.perf_counter() + SECONDS
    while len(times) < 7 or time.perf_counter() < end:
        started = time.perf_counter()
        predict(images)
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times[2:])


def _keras(folder, threads):
    import keras

    import small_vit.deploy.serving  # noqa: F401 - registers its layers

    model = keras.saving.load_model(folder / "model.keras", compile=False)
    return lambda images: model.predict(images, batch_size=len(images), verbose=0)


def _saved_model(folder, threads):
    import tensorflow as tf

    model = tf.saved_model.load(str(folder / "model"))
    return lambda images: model.serve(images).numpy()


def _onnx(folder, threads):
    run = _session(folder / "model.onnx", threads)
    return lambda images: run({"images": images})


def _timm(folder, threads):
    """It takes what is done before it elsewhere: float32 images, channels first."""
    run = _session(folder / "timm.onnx", threads)
    rows = np.random.default_rng(0).normal(size=(32, *_timm_shape(folder))).astype("float32")
    return lambda images: run({"images": rows[: len(images)]})


def _timm_shape(folder):
    return json.loads((folder / "timm.json").read_text())["image_shape"]


def _session(path, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda feed: session.run(None, feed)[0]


def _litert(folder, threads):
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(folder / "model.tflite"), num_threads=threads).get_signature_runner()
    return lambda images: next(iter(runner(images=images).values()))


def _openvino(folder, threads):
    import openvino

    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    model = openvino.compile_model(folder / "model.xml", "CPU", options)
    return lambda images: model(images)[0]


CONTENDERS = {
    "model.predict": (_keras, "keras"),
    "saved_model": (_saved_model, "tensorflow"),
    "onnx": (_onnx, "onnxruntime"),
    "litert": (_litert, "ai_edge_litert"),
    "openvino": (_openvino, "openvino"),
    "timm": (_timm, "onnxruntime"),
}
"""By name: how to open it, and the package whose version counts."""

if __name__ == "__main__":
    name, where, count, *sizes = sys.argv[1:]
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(count)])
    print(json.dumps(measure(name, Path(where), int(count), [int(size) for size in sizes])))
