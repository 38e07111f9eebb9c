"""Measures the model of a finished run again, and writes its report again."""

from dataclasses import dataclass

import keras
import numpy as np

from small_vit.config import ExperimentConfig
from small_vit.data import Dataset, fingerprint, load_data
from small_vit.errors import InputError
from small_vit.report.run_report import write_report
from small_vit.results.evaluation import evaluate
from small_vit.results.predictions import predict_split
from small_vit.results.run_directory import RunDirectory
from small_vit.results.saved_model import load_model
from small_vit.results.threshold import positive_class


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A run's model on the test set.

    Attributes:
        config: The run's `ExperimentConfig`.
        dataset: Its `Dataset`.
        model: Its trained model.
        logits: `(examples, classes)`, of the test images.
        metrics: Of them (`small_vit.results.evaluation`), at the run's threshold, if any.
        intervals: `[low, high]` of the metrics.
    """

    config: ExperimentConfig
    dataset: Dataset
    model: keras.Model
    logits: np.ndarray
    metrics: dict[str, float]
    intervals: dict[str, list[float]]


def evaluate_run(path, data_dir=None, batch_size=256):
    """Measure the saved model of a finished run on the test set.

    Args:
        path: Run directory.
        data_dir: Folder of the data. Default: where the run read it.
        batch_size: Images at a time.

    Returns:
        `Evaluated`.

    Raises:
        InputError: if there is no finished run, its data cannot be read, or it has changed.
    """
    if batch_size < 1:
        raise InputError(f"--batch-size must be at least 1. Received: {batch_size}.")
    run = RunDirectory(path)
    config = run.config()
    result = run.finished_result()
    model, _ = load_model(path)
    data = config.data if data_dir is None else config.data.replace(data_dir=str(data_dir))
    dataset = load_data(data, config.model.image_size)
    if fingerprint(dataset) != result.data_fingerprint:
        raise InputError(
            f"The images of the run in {path} have changed since: its test set may now hold images "
            "that it was trained on. Restore them, or give new images as small-vit evaluate RUN "
            "DIR."
        )
    logits = predict_split(model, dataset.test, batch_size)
    positive = positive_class(data.positive, dataset.class_names, dataset.train.labels)
    threshold = result.metrics.get("threshold")
    measured = evaluate(logits, dataset.test.labels, positive, threshold=threshold)
    return Evaluated(config, dataset, model, logits, measured.metrics, measured.intervals)


def rewrite_report(path, data_dir=None):
    """Write report.md, report.html and the pictures of a finished run again.

    Args:
        path: Run directory.
        data_dir: Folder of the data. Default: where the run read it.

    Returns:
        Path of report.md.

    Raises:
        InputError: if there is no finished run, or its data cannot be read.
    """
    run = RunDirectory(path)
    evaluated = evaluate_run(path, data_dir)
    write_report(
        run, evaluated.config, run.result(), evaluated.model, evaluated.logits, evaluated.dataset
    )
    return run / "report.md"
