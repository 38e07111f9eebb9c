"""`python -m small_vit.deploy.check_process FOLDER WORK`: run an exported model as its users do.

It calls the predict.py in FOLDER, in this process, without Keras. It reads WORK/images.npy, and
writes WORK/probabilities.npy and WORK/measured.json.
"""

import runpy
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from small_vit.files import write_json
from small_vit.progress_bar import image_bar
from small_vit.quiet import only_errors

BATCH_SIZES = (1, 32)
SECONDS = 1.0
"""How long a latency is measured."""


def run_export(folder, work):
    """Write the probabilities of all images, and the times.

    Args:
        folder: Folder of an export.
        work: Folder of images.npy.
    """
    images = np.load(work / "images.npy", mmap_mode="r")
    load = runpy.run_path(str(folder / "predict.py"))["load"]
    started = time.perf_counter()
    with only_errors():
        predict = load()
        predict(images[:1])
    load_ms = 1000 * (time.perf_counter() - started)
    latency_ms = {}
    for size in BATCH_SIZES:
        batch = np.resize(images[:size], (size, *images.shape[1:]))
        latency_ms[str(size)] = round(_latency_ms(predict, batch), 3)
    np.save(work / "probabilities.npy", np.concatenate(list(_predict_all(predict, images))))
    write_json(work / "measured.json", {"load_ms": round(load_ms, 1), "latency_ms": latency_ms})


def _latency_ms(predict, batch):
    """The median of the calls that fit into `SECONDS`, at least five, after two to warm up."""
    times, end = [], time.perf_counter() + SECONDS
    while len(times) < 7 or time.perf_counter() < end:
        started = time.perf_counter()
        predict(batch)
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times[2:])


def _predict_all(predict, images):
    size = BATCH_SIZES[-1]
    with image_bar() as progress:
        task = progress.add_task("", total=len(images))
        for first in range(0, len(images), size):
            batch = np.ascontiguousarray(images[first : first + size])
            yield predict(batch)
            progress.update(task, advance=len(batch))


if __name__ == "__main__":
    run_export(*map(Path, sys.argv[1:]))
