"""Measure the latency of exported models, beside `model.predict` and timm's ViT."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from rich.progress import track

from benchmarks.inference import CONTENDERS
from benchmarks.turns import EXPERIMENTS
from benchmarks.workload import IMAGE_SHAPE, MODELS, NUM_CLASSES
from small_vit.errors import InputError, exit_on_input_error
from small_vit.files import make_folder, write_json, write_text
from small_vit.models.registry import count_multiply_adds, named_model
from small_vit.quiet import import_keras, only_errors
from small_vit.sizes import as_pair

ROWS = EXPERIMENTS / "results" / "export" / "speed.jsonl"
ViTName = Literal["example", "cpu", "ViT-Ti/16", "tiny"]


@dataclass(frozen=True)
class CommandLine:
    """Time the predictions of a model in each format, with random weights.

    The contenders take turns, each measurement in its own process. Run nothing else on the machine.

    Example: python experiments/export_speed.py --torch-python ENV/bin/python
    """

    models: tuple[ViTName, ...] = ("example", "cpu", "ViT-Ti/16")
    """The model of the Keras example, of the recipe cpu, ViT-Ti/16 at 224 px, or a tiny one to try
    it; without SPT and LSA, so that timm's does the same."""
    contenders: tuple[Literal[tuple(CONTENDERS)], ...] = tuple(CONTENDERS)
    """The formats; timm's ViT of the same size under ONNX Runtime."""
    threads: tuple[int, ...] = (1, 2)
    """Threads, each on a core of its own."""
    batch_sizes: tuple[int, ...] = (1, 32)
    """Images in a call, at most 32."""
    rounds: int = 5
    """Measurements of each."""
    torch_python: Path | None = None
    """Python with torch, timm and onnxscript, which writes timm's model. Default: timm is left
    out."""
    to: Path = ROWS
    """File of rows."""


def main(arguments=None):
    """Run the command line.

    Args:
        arguments: List of strings. Default: `sys.argv[1:]`.
    """
    options = tyro.cli(CommandLine, prog="export_speed.py", args=arguments)
    with exit_on_input_error():
        _check(options)
        os.environ["KERAS_BACKEND"] = "tensorflow"  # it writes every format
        import_keras()
        make_folder(options.to.parent)
        for name in options.models:
            rows = measure(name, options)
            old = options.to.read_text() if options.to.exists() else ""
            write_text(options.to, old + "".join(json.dumps(row) + "\n" for row in rows))
            for row in rows:
                print(
                    f"{row['model']}  {row['contender']:<13}  {row['threads']} threads  "
                    f"{row['batch_size']:>2} images  {row['latency_ms']:9.2f} ms"
                )
    print(f"Rows added to {options.to}")


def _check(options):
    if min(options.rounds, *options.threads, *options.batch_sizes) < 1:
        raise InputError("--rounds, --threads and --batch-sizes must be at least 1.")
    if max(options.batch_sizes) > 32:
        raise InputError(f"--batch-sizes must be at most 32. Received: {max(options.batch_sizes)}.")
    if max(options.threads) > len(os.sched_getaffinity(0)):
        raise InputError(
            f"--threads must be at most {len(os.sched_getaffinity(0))}, the cores of this process. "
            f"Received: {max(options.threads)}."
        )


def measure(name, options):
    """Time the contenders on a model, in turns: A B C, A B C, …

    Args:
        name: One of `CommandLine.models`.
        options: `CommandLine`.

    Returns:
        List of rows, dicts ready for JSON, one for each contender, number of threads and batch
        size. `ratio_to_predict` and `ratio_to_timm` are medians over the rounds of the latency by
        the other's: above 1, it is slower. The latter is for equal numbers of multiply-adds.
    """
    contenders = [each for each in options.contenders if each != "timm" or options.torch_python]
    with tempfile.TemporaryDirectory() as folder:
        work = write_contenders(name, contenders, Path(folder), options.torch_python)
        turns = [
            (round_number, threads, each)
            for round_number in range(options.rounds)
            for threads in options.threads
            for each in contenders
        ]
        measured = {}
        for _, threads, each in track(turns, description=name, transient=True):
            result = _one_measurement(each, folder, threads, options.batch_sizes)
            measured.setdefault((each, threads), []).append(result)
    session = _session()
    return [
        _row(name, each, threads, size, measured, work) | session
        for (each, threads) in measured
        for size in options.batch_sizes
    ]


def write_contenders(name, contenders, folder, torch_python=None):
    """Write the files of the contenders, and images.npy.

    Args:
        name: One of `CommandLine.models`.
        contenders: List of names.
        folder: `Path`.
        torch_python: Python with torch and timm, for "timm".

    Returns:
        Dict of the multiply-adds of an image: "ours" and "timm".
    """
    import keras

    from small_vit.deploy.formats import FORMATS, check_format, write_format
    from small_vit.deploy.serving import serving_model
    from small_vit.models.registry import build_classifier

    config, shape, classes = _model(name)
    keras.utils.set_random_seed(0)
    model = serving_model(build_classifier(config, shape, classes))
    about = {"class_names": [str(label) for label in range(classes)]}
    formats = {"model.predict": "keras"} | {format: format for format in FORMATS}
    for each in contenders:
        if each != "timm":
            check_format(formats[each], "tensorflow", run_it=True)
            with only_errors():
                write_format(formats[each], model, folder, about)
    images = np.random.default_rng(0).integers(0, 256, (32, *shape), dtype="uint8")
    np.save(folder / "images.npy", images)
    peer = _as_in_timm(config)
    if "timm" in contenders:
        write_json(folder / "timm.json", _sizes_for_timm(peer, classes))
        _run([torch_python, "-m", "benchmarks.timm_onnx", folder])
    counts = {"ours": config, "timm": peer}
    return {
        which: count_multiply_adds(each, shape, classes).total for which, each in counts.items()
    }


def _model(name):
    """Config, image shape and number of classes of a model."""
    if name in MODELS:
        return MODELS[name].vanilla(), IMAGE_SHAPE, NUM_CLASSES
    config = named_model(name)
    return config, (*as_pair(config.image_size), 3), 1000


def _as_in_timm(config):
    return config.replace(
        pooling="class_token", head_units=(), head_dropout=0.0, mlp_output_activation=False
    )


def _sizes_for_timm(config, classes):
    height, width = as_pair(config.image_size)
    return {
        "image_shape": [3, height, width],
        "key_dim": config.key_dim,
        "model": {
            "img_size": [height, width],
            "patch_size": config.patch_size,
            "num_classes": classes,
            "embed_dim": config.projection_dim,
            "depth": config.num_layers,
            "num_heads": config.num_heads,
            "mlp_ratio": config.mlp_ratio,
            "qkv_bias": config.qkv_bias,
        },
    }


def _one_measurement(contender, folder, threads, batch_sizes):
    command = [sys.executable, "-m", "benchmarks.inference", contender, folder, threads]
    return json.loads(_run([*command, *batch_sizes]).splitlines()[-1])


def _run(command):
    paths = [str(EXPERIMENTS), str(EXPERIMENTS.parent)]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise InputError(f"{' '.join(map(str, command[:4]))} failed: {lines[-1]}")
    return done.stdout


def _row(name, contender, threads, size, measured, work):
    own = _latencies(measured, contender, threads, size)
    row = {
        "model": name,
        "contender": contender,
        "threads": threads,
        "batch_size": size,
        "rounds": len(own),
        "latency_ms": round(statistics.median(own), 3),
        "all_latency_ms": [round(each, 3) for each in own],
        "images_per_second": round(1000 * size / statistics.median(own), 1),
        "load_ms": statistics.median(each["load_ms"] for each in measured[contender, threads]),
        "multiply_adds": work["timm" if contender == "timm" else "ours"],
        "version": measured[contender, threads][0]["version"],
    }
    if ("model.predict", threads) in measured:
        row["ratio_to_predict"] = _ratio(
            own, _latencies(measured, "model.predict", threads, size), 1
        )
    if ("timm", threads) in measured:
        per_work = work["timm"] / row["multiply_adds"]
        row["ratio_to_timm"] = _ratio(own, _latencies(measured, "timm", threads, size), per_work)
    return row


def _latencies(measured, contender, threads, size):
    return [each["latency_ms"][str(size)] for each in measured[contender, threads]]


def _ratio(own, other, factor):
    pairs = zip(own, other, strict=True)
    return round(factor * statistics.median(mine / theirs for mine, theirs in pairs), 3)


def _session():
    import keras

    from benchmarks.session import describe_session
    from small_vit.training.devices import choose_strategy

    about = {"device": choose_strategy("cpu").description, "keras": keras.__version__}
    return about | describe_session()


if __name__ == "__main__":
    main()
