"""What the pictures are drawn from: image files and run directories."""

import json
from pathlib import Path

import keras
import numpy as np
from PIL import Image, ImageOps

from small_vit import datasets
from small_vit.config import ExperimentConfig
from small_vit.errors import InputError
from small_vit.runs import RunDirectory


def read_image(path, size, channels=3) -> np.ndarray:
    """Read an image file, cut its middle out in the shape of `size` and scale it to that.

    Args:
        path: The file, in any format that Pillow reads.
        size: (height, width).
        channels: 3, or 1 for grey levels.

    Returns:
        uint8 `(height, width, channels)`.

    Raises:
        InputError: if the file is missing or no image.
    """
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            return fit_image(upright.convert("L" if channels == 1 else "RGB"), size)
    except (OSError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"Cannot read {path} as an image: {reason}.") from error


def fit_image(image, size) -> np.ndarray:
    """Cut the middle out of a Pillow image in the shape of `size` and scale it to that.

    Args:
        image: `PIL.Image.Image` of mode L or RGB.
        size: (height, width).

    Returns:
        uint8 `(height, width, 1 or 3)`.
    """
    fitted = np.asarray(ImageOps.fit(image, size[::-1], Image.Resampling.BILINEAR))
    return np.atleast_3d(fitted)


def scale_image(image, size) -> np.ndarray:
    """Scale an image as a model's first layer does: bilinear, without keeping its proportions.

    Args:
        image: uint8 `(height, width, 1 or 3)`.
        size: (height, width).

    Returns:
        uint8 `(height, width, 1 or 3)`.
    """
    flat = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return np.atleast_3d(flat.resize(size[::-1], Image.Resampling.BILINEAR))


def first_test_image(config: ExperimentConfig) -> np.ndarray:
    """Return the first test image of an experiment's dataset, uint8 `(height, width, channels)`.

    Raises:
        InputError: if the dataset cannot be loaded.
    """
    return datasets.load(config.data.dataset, config.data.data_dir).test.images[0]


def read_model(run) -> tuple[keras.Model, list[str]]:
    """Load the trained model of a run directory.

    Args:
        run: The directory.

    Returns:
        The model and the names of its classes.

    Raises:
        InputError: if the directory holds no run, or one that has not ended.
    """
    run = RunDirectory(run)
    run.config()
    if not (run / "model.keras").exists():
        raise InputError(
            f"{run.path} holds a run that has not ended: it has no model.keras yet. Go on with it "
            f"by --resume {run.path}."
        )
    model = keras.saving.load_model(run / "model.keras", compile=False)
    return model, json.loads((run / "classes.json").read_text())


def read_histories(paths) -> dict[str, list[list[dict]]]:
    """Read the epochs of run directories, the runs that differ in their seed alone together.

    Args:
        paths: Run directories, and directories that hold run directories.

    Returns:
        For each arm, vanilla first, a list over its seeds of histories: what `plot_curves` takes.
        Runs of one arm that differ otherwise stand apart, named by what differs.

    Raises:
        InputError: if a directory holds no run.
    """
    runs = [(run.config(), _history(run)) for path in paths for run in _runs_in(Path(path))]
    runs.sort(key=lambda run: run[0].model.arm != "vanilla")
    configs, histories = {}, {}
    for config, history in runs:
        # Neither the seed nor where the files lie makes another experiment.
        config = config.replace(train={"seed": 0}, data={"data_dir": None})
        name = config.model.arm
        base = configs.setdefault(name, config)
        if config != base:
            name += f" ({', '.join(base.differences(config))})"
        histories.setdefault(name, []).append(history)
    return histories


def _runs_in(path):
    if (path / "config.json").exists():
        return [RunDirectory(path)]
    found = sorted(path.glob("*/config.json"))
    if not found:
        raise InputError(f"{path} is no run directory and holds none.")
    return [RunDirectory(config.parent) for config in found]


def _history(run):
    try:
        return run.history()
    except FileNotFoundError:
        return []  # The first epoch has not ended.
    except ValueError as error:
        raise InputError(f"{run.path}: metrics.jsonl is damaged ({error}).") from error
