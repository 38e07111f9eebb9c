"""Measure the peak memory of a run on a memory-mapped dataset, for several dataset sizes.

Each size runs in its own process:

  python experiments/memory.py --gigabytes 1 8 --backend jax
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

ROOT = Path(__file__).resolve().parent.parent
SIDE = 128

RUN = """
import sys
from pathlib import Path
import numpy as np
from small_vit.cli.process import prepare_backend
from small_vit.quiet import import_keras
folder, images = Path(sys.argv[1]), int(sys.argv[2])
prepare_backend(["--backend", sys.argv[3]])
import_keras()
from small_vit.data import DATASETS, Dataset, Split
from small_vit.data.registry import Registered
from small_vit.recipes import cpu
from small_vit.training.run import run_experiment
shape = tuple(int(side) for side in sys.argv[4].split("x"))
def load(data_dir):
    splits = []
    for name, count in (("train", images), ("test", 1000)):
        pixels = np.memmap(folder / name, np.uint8, "r", shape=(count, *shape))
        splits.append(Split(pixels, (np.arange(count) % 10).astype("int32")))
    return Dataset("noise", *splits, tuple("0123456789"))
DATASETS["noise"] = Registered(load, images, shape, 10)
config = cpu().replace(
    recipe="custom", data={"dataset": "noise"}, train={"epochs": 1, "batch_size": 256},
    model={"patch_size": 8, "projection_dim": 16, "num_layers": 1, "num_heads": 2, "key_dim": 8},
)
run_experiment(config, folder / "run")
"""


@dataclass(frozen=True)
class CommandLine:
    """Train, validate and write the report on memory-mapped noise; print the peak memory."""

    gigabytes: tuple[float, ...] = (1, 8)
    """Sizes of the training images."""
    backend: Literal["tensorflow", "jax"] = "tensorflow"
    """Keras backend."""


def main():
    """Run the command line."""
    options = tyro.cli(CommandLine, prog="memory.py")
    for gigabytes in options.gigabytes:
        with tempfile.TemporaryDirectory() as folder:
            images = int(gigabytes * 2**30 / (SIDE * SIDE * 3))
            for name, count in (("train", images), ("test", 1000)):
                write_noise(Path(folder) / name, count)
            shape = f"{SIDE}x{SIDE}x3"
            command = [sys.executable, "-c", RUN, folder, str(images), options.backend, shape]
            subprocess.run(command, cwd=ROOT, check=True)
            result = json.loads((Path(folder) / "run" / "result.json").read_text())
        print(
            f"{gigabytes:g} GB, {images:,} images, {options.backend}: peak resident memory "
            f"{result['peak_memory_mb']:,} MB, {result['seconds']:.0f} s",
            flush=True,
        )


def write_noise(path, count):
    """Write `count` images of noise, a thousand at a time."""
    generator = np.random.default_rng(0)
    with path.open("wb") as file:
        for first in range(0, count, 1000):
            shape = (min(1000, count - first), SIDE, SIDE, 3)
            file.write(generator.integers(0, 256, shape, dtype=np.uint8).tobytes())


if __name__ == "__main__":
    main()
