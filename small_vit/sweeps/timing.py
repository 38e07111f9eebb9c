"""How long runs will take, judged by the runs that were measured."""

from datetime import timedelta

import numpy as np

from small_vit.sweeps.named import training_images


def work(config):
    """Return how many images `config` trains on, over all its epochs."""
    return config.train.epochs * training_images(config)


def seconds_per_image(rows):
    """Return the median time that runs took for an image of an epoch, evaluation included.

    Args:
        rows: List of `Result`.

    Returns:
        Seconds; None without rows.
    """
    times = [row.seconds / (row.epochs * row.train_examples) for row in rows]
    return float(np.median(times)) if times else None


def clock(seconds):
    """Return seconds as "1:02:03", and None as "unknown"."""
    return "unknown" if seconds is None else str(timedelta(seconds=round(seconds)))
