"""Checks an exported model in a fresh process against the model it came from."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.special import softmax

from small_vit.errors import InputError
from small_vit.files import read_json

TOLERANCE = 1e-4
"""Largest difference of a probability from the run's model, in float32."""

LEAST_AGREEMENT = 0.95
"""Least part of the images for which an int8 model and the run's have the same most probable class.
"""


def check_export(folder, evaluated, int8=False):
    """Run an exported model on all test images, and compare it with the run's model.

    Args:
        folder: From `export_run`.
        evaluated: `Evaluated`, the run's model on these images.
        int8: Whether it is quantized.

    Returns:
        Dict of `images`, their number; `largest_difference` of a probability; `agreement` on the
        most probable class; `accuracy` of the exported and `accuracy_of_run` of the run's model;
        `load_ms`, until the first prediction is there; `latency_ms` of a batch of "1" and "32",
        medians; `first_prediction_ms` of predict.py, from the start of its process; `tolerance`, in
        words; `passed`.

    Raises:
        InputError: if it cannot be run.
    """
    split = evaluated.dataset.test
    with tempfile.TemporaryDirectory() as work:
        _write_images(Path(work, "images.npy"), split)
        _run_python("-m", "small_vit.deploy.check_process", folder, work)
        measured = read_json(Path(work, "measured.json"))
        received = np.load(Path(work, "probabilities.npy"))
        first = _first_prediction_ms(folder, Path(work, "image.png"), split.read([0])[0])
    compared = compare(received, softmax(evaluated.logits, axis=1), split.labels, int8)
    return compared | measured | {"first_prediction_ms": first}


def compare(received, expected, labels, int8=False):
    """Compare the probabilities of an exported model with those of the run's model.

    Args:
        received: `(images, classes)`, of the exported model.
        expected: The same, of the run's model.
        labels: `(images,)`, integers.
        int8: Whether the exported model is quantized.

    Returns:
        Dict, as from `check_export` but for the times.
    """
    chosen, chosen_by_run = received.argmax(axis=1), expected.argmax(axis=1)
    difference = float(np.abs(received - expected).max())
    agreement = float((chosen == chosen_by_run).mean())
    return {
        "images": len(labels),
        "largest_difference": difference,
        "agreement": agreement,
        "accuracy": float((chosen == labels).mean()),
        "accuracy_of_run": float((chosen_by_run == labels).mean()),
        "tolerance": (
            f"at least {LEAST_AGREEMENT:.0%} of the images with the same most probable class"
            if int8
            else f"probabilities that differ by at most {TOLERANCE}"
        ),
        "passed": agreement >= LEAST_AGREEMENT if int8 else difference <= TOLERANCE,
    }


def _write_images(path, split):
    """Write the images of a split to a .npy file, part by part."""
    shape = (len(split), *split.image_shape)
    images = np.lib.format.open_memmap(path, "w+", dtype="uint8", shape=shape)
    first = 0
    for part in split.parts():
        images[first : first + len(part)] = part
        first += len(part)
    images.flush()


def _first_prediction_ms(folder, path, image):
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(path)
    started = time.perf_counter()
    _run_python(folder / "predict.py", path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return round(1000 * (time.perf_counter() - started), 1)


def _run_python(*arguments, **options):
    # This package need not be installed.
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3"}
    environment = os.environ | quiet | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, *map(str, arguments)]
    ended = subprocess.run(command, env=environment, **options)
    if ended.returncode:
        raise InputError(f"The exported model does not run: {json.dumps(command)} has failed.")
