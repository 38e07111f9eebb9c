"""Measure the peak memory of a run on a memory-mapped dataset, for several dataset sizes.

Each size runs in its own process:

  python experiments/memory.py --gigabytes 1 8 --backend jax
"""

import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from small_vit.cli.process import prepare_backend
from small_vit.quiet import import_keras

SHAPE = (128, 128, 3)
TEST_IMAGES = 1000


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
        images = int(gigabytes * 2**30 / np.prod(SHAPE))
        with tempfile.TemporaryDirectory() as folder, new_process() as process:
            for name, count in (("train", images), ("test", TEST_IMAGES)):
                write_noise(Path(folder) / name, count)
            trained = process.submit(train_on_noise, Path(folder), images, options.backend)
            megabytes, seconds = trained.result()
        print(
            f"{gigabytes:g} GB, {images:,} images, {options.backend}: peak resident memory "
            f"{megabytes:,} MB, {seconds:.0f} s",
            flush=True,
        )


def new_process():
    """Return an executor of one process that shares no memory with this one."""
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def write_noise(path, count):
    """Write `count` images of noise, a thousand at a time."""
    generator = np.random.default_rng(0)
    with path.open("wb") as file:
        for first in range(0, count, 1000):
            shape = (min(1000, count - first), *SHAPE)
            file.write(generator.integers(0, 256, shape, dtype=np.uint8).tobytes())


def train_on_noise(folder, images, backend):
    """Train for an epoch on the files in a folder; return the peak memory in MB and the seconds."""
    prepare_backend(["--backend", backend])
    import_keras()
    from small_vit.data import DATASETS, Dataset, Split
    from small_vit.data.registry import Registered
    from small_vit.recipes import cpu
    from small_vit.training.run import run_experiment

    def read(name, count):
        pixels = np.memmap(folder / name, np.uint8, "r", shape=(count, *SHAPE))
        return Split(pixels, (np.arange(count) % 10).astype("int32"))

    def load(data_dir):
        splits = read("train", images), read("test", TEST_IMAGES)
        return Dataset("noise", *splits, tuple("0123456789"))

    DATASETS["noise"] = Registered(load, images, SHAPE, 10)
    small = {"patch_size": 8, "projection_dim": 16, "num_layers": 1, "num_heads": 2, "key_dim": 8}
    config = cpu().replace(
        recipe="custom",
        data={"dataset": "noise"},
        train={"epochs": 1, "batch_size": 256},
        model=small,
    )
    result = run_experiment(config, folder / "run")
    return result.peak_memory_mb, result.seconds


if __name__ == "__main__":
    main()
