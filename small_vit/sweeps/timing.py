"""Estimates how long runs will take, from runs that were measured."""

import numpy as np

from small_vit.data.registry import image_shape_and_classes
from small_vit.models.registry import count_multiply_adds
from small_vit.sweeps.named import training_images


def work(config):
    """Return the FLOPs of all forward passes in training."""
    image_shape, num_classes = image_shape_and_classes(config.data, config.model.image_size)
    flops = 2 * count_multiply_adds(config.model, image_shape, num_classes).total
    passes = config.train.epochs * config.train.passes_per_epoch
    return passes * training_images(config) * flops


def comparable(rows, recipe, device):
    """Choose the measured runs by which to judge how long others take.

    Those of the same recipe on the same device; if there are none, all on the device; else those of
    the recipe on other devices; else all.

    Args:
        rows: List of `Result`.
        recipe: Name of the recipe.
        device: Name of the device, as results have it; None if it is not known.

    Returns:
        List of `Result`.
    """
    here = [row for row in rows if row.device == device]
    either = here or rows
    return [row for row in either if row.recipe == recipe] or either


def seconds_per_flop(rows):
    """Return the median time of runs per FLOP of `work`.

    Args:
        rows: List of `Result`.

    Returns:
        Seconds; None without rows.
    """
    times = [
        row.seconds
        / (row.trained_epochs * row.passes_per_epoch * row.train_examples * row.forward_flops)
        for row in rows
    ]
    return float(np.median(times)) if times else None


def estimate(runs, pace):
    """Return the seconds that runs take from the start, or None if not known.

    Args:
        runs: List of `Run`.
        pace: From `seconds_per_flop`.
    """
    return None if pace is None else pace * sum(work(run.config) for run in runs)
