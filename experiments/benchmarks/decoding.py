"""The first pass over a folder of images: ours, that of Keras's utility, and torchvision's.

`python -m benchmarks.decoding CONTENDER FOLDER SIDE` makes one measurement in its own process, as a
first pass always is, and prints it as JSON. Libraries are imported before the clock starts.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

CONTENDERS = ("ours", "keras", "torchvision")
BATCH_SIZE = 32


def measure_pass(contender, folder, side):
    """Decode the images of a folder to squares, once.

    Args:
        contender: One of `CONTENDERS`.
        folder: A folder that holds a folder for each class.
        side: Side of a square in pixels.

    Returns:
        Dict of "images" (their number), "seconds", "cpu_seconds" of this process, and "versions".
    """
    with tempfile.TemporaryDirectory() as cache:
        run, versions = _PREPARE[contender](Path(folder), side, cache)
        started, cpu_started = time.perf_counter(), time.process_time()
        images = run()
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    return {
        "images": images,
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu_seconds, 3),
        "versions": versions,
    }


def _ours(folder, side, cache):
    import loky
    import PIL
    import scipy
    import scipy.fft

    from small_vit.data.folder.decoded import read_images
    from small_vit.data.folder.listing import list_images

    def run():
        listing = list_images(folder)
        return len(read_images(listing, (side, side), "crop", cache, False).images)

    return run, {"pillow": PIL.__version__, "loky": loky.__version__, "scipy": scipy.__version__}


def _keras(folder, side, cache):
    import keras
    import tensorflow as tf

    def run():
        dataset = keras.utils.image_dataset_from_directory(
            folder, image_size=(side, side), batch_size=BATCH_SIZE, shuffle=False, verbose=False
        )
        return sum(len(images) for images, _ in dataset)

    return run, {"keras": keras.__version__, "tensorflow": tf.__version__}


def _torchvision(folder, side, cache):
    import os

    import PIL
    import torch
    import torchvision
    from torchvision.transforms import v2

    steps = [v2.Resize(side), v2.CenterCrop(side), v2.PILToTensor()]

    def run():
        dataset = torchvision.datasets.ImageFolder(folder, v2.Compose(steps))
        batches = torch.utils.data.DataLoader(dataset, BATCH_SIZE, num_workers=os.cpu_count())
        return sum(len(images) for images, _ in batches)

    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
    return run, versions | {"pillow": PIL.__version__}


_PREPARE = {"ours": _ours, "keras": _keras, "torchvision": _torchvision}

if __name__ == "__main__":
    print(json.dumps(measure_pass(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
