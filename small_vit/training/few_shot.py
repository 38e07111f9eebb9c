"""Few-shot evaluation of finished runs, on their own data or on other images."""

import functools
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from rich.console import Console
from rich.progress import Progress

from small_vit.config import DataConfig, ExperimentConfig
from small_vit.data import Dataset, Split, fingerprint, load_data
from small_vit.data.folder.dataset import FolderDataset
from small_vit.data.folder.listing import list_images
from small_vit.errors import InputError
from small_vit.files import read_json
from small_vit.progress_bar import image_bar
from small_vit.results.few_shot import (
    RunFewShot,
    backbone_for,
    draw_shots,
    features_of,
    measure_draws,
)
from small_vit.results.run_directory import RunDirectory
from small_vit.results.saved_model import load_model, model_fingerprint
from small_vit.training.prepare import split_training_images


@dataclass(frozen=True, eq=False)
class Subject:
    """A run to measure, with the images at the size of its model.

    Attributes:
        name: In table and curve.
        run: Its `RunDirectory`.
        data: `DataConfig` of the images.
        dataset: `Dataset`; its test images are for the final figures.
        train: Images to draw the shots from.
        validation: Images to choose l2 on.
        backbone: `keras.Model` from images to features.
        draws: Rows of `train`, from `draw_shots`.
    """

    name: str
    run: RunDirectory
    data: DataConfig
    dataset: Dataset
    train: Split
    validation: Split
    backbone: keras.Model
    draws: np.ndarray

    def about(self):
        """Return a dict that says which images these are."""
        return {
            "dataset": self.data.name,
            "classes": self.dataset.num_classes,
            "training_images": len(self.train),
            "validation_images": len(self.validation),
            "test_images": len(self.dataset.test),
        }


def load_subjects(paths, most, draws, seed, data=None, data_dir=None):
    """Load runs and their images, and draw the shots; what is wrong shows before any feature.

    Args:
        paths: Run directories. All are measured on the images of the first, or of `data`.
        most: Largest number of shots.
        draws: Number of draws.
        seed: Seed of the draws. All runs get the same.
        data: `DataConfig` of a folder of images. Default: the first run's own data, divided as for
            its training. If it has no validation images, a stratified part of the training images
            is held out.
        data_dir: Folder of the first run's own data. Default: where the run read it.

    Returns:
        List of `Subject`.

    Raises:
        InputError: if a run has not ended or its model takes other images, the images cannot be
            used, or a class has too few.
    """
    runs = [RunDirectory(path) for path in paths]
    configs = [run.config() for run in runs]
    for run in runs:
        run.finished_result()
    own = data is None
    experiment = configs[0] if own else ExperimentConfig(data=data)
    if own and data_dir is not None:
        experiment = experiment.replace(data={"data_dir": str(data_dir)})
    division = experiment
    if experiment.data.validation_split in ("none", "test"):
        division = experiment.replace(data={"validation_split": "stratified"})
    load = functools.cache(load_data)  # images of one size serve all runs
    subjects = []
    for name, run, config in zip(_names(paths), runs, configs, strict=True):
        model, _ = load_model(run.path)
        seen = experiment.data
        if seen.dataset == "folder":
            seen = seen.replace(fit=config.data.fit)
        dataset = load(seen, tuple(model.input_shape[1:3]))
        if own and run is runs[0]:
            _refuse_changed(run, dataset)
        backbone = backbone_for(model, dataset.image_shape, run.path)
        train, validation = split_training_images(dataset, division)
        rows = draw_shots(train.labels, dataset.class_names, most, draws, seed)
        subjects.append(Subject(name, run, seen, dataset, train, validation, backbone, rows))
    return subjects


def _names(paths):
    """The names of the runs' folders; their paths if two have one name."""
    names = [path.resolve().name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def _refuse_changed(run, dataset):
    if fingerprint(dataset) != run.result().data_fingerprint:
        raise InputError(
            f"The images of the run in {run.path} have changed since: its test set may now hold "
            "images that it was trained on. Restore them, or name a folder of images as "
            "small-vit few-shot RUN DIR."
        )


def measure(subject, shots, batch_size=256):
    """Measure a run's features with a few images of each class.

    Args:
        subject: `Subject`.
        shots: Numbers of images of each class.
        batch_size: Images at a time.

    Returns:
        `RunFewShot`.
    """
    rows = np.unique(subject.draws)
    drawn, validation, test = _features(subject, rows, batch_size)
    numbers = sorted(set(shots))
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("fits", total=2 * len(numbers) * len(subject.draws))
        on_fit = functools.partial(progress.advance, task)
        measured = {}
        for number in numbers:
            draws = [np.searchsorted(rows, draw[:, :number].ravel()) for draw in subject.draws]
            measured[number] = measure_draws(drawn, draws, validation, test, on_fit)
    return RunFewShot(
        name=subject.name,
        run=str(subject.run.path),
        features=drawn[0].shape[1],
        shots=measured,
        note=_note_on_seen_images(subject),
    )


def _features(subject, rows, batch_size):
    """`(features, labels)` of the drawn training images, of validation and of test."""
    splits = subject.train.subset(rows), subject.validation, subject.dataset.test
    with image_bar() as progress:
        task = progress.add_task("", total=sum(map(len, splits)))
        on_batch = functools.partial(progress.advance, task)
        return [
            (features_of(subject.backbone, split, batch_size, on_batch), split.labels)
            for split in splits
        ]


def _note_on_seen_images(subject):
    """What is to be said of the images that a model and those before it have seen; or None."""
    runs, unknown = _runs_behind(subject.run)
    notes = []
    if seen := _seen_images(subject, runs):
        started = ", or a model that it started from," if len(runs) > 1 else ""
        notes.append(
            f"{subject.name}{started} was trained or chosen on {seen}: few shots of images that "
            "the backbone has seen say little about new classes."
        )
    if unknown:
        notes.append(
            f"What images the initial weights of {subject.name} have seen is not known: {unknown} "
            "is no run, or no longer the one that was started from."
        )
    return " ".join(notes) or None


def _runs_behind(run):
    """`(runs, unknown)`: a run, those that it started from, and the path that leads no further."""
    runs = [run]
    while (path := runs[-1].config().train.init_from) is not None:
        path = Path(path)
        source = RunDirectory(path.parent if path.name == "model.keras" else path)
        if not _started_from(runs[-1], source):
            return runs, path
        runs.append(source)
    return runs, None


def _started_from(run, source):
    """Whether `source` is a run whose weights are still those that a run started from."""
    try:
        source.config()
        weights = model_fingerprint(source.path)
    except InputError:
        return False
    return weights == read_json(run / "environment.json").get("init_fingerprint")


def _seen_images(subject, runs):
    """Which of the dataset's images one of several runs has seen, in words; None if none."""
    if isinstance(subject.dataset, FolderDataset):
        root = list_images(subject.data.data_dir).root
        files = [root / file for split in subject.dataset.files.values() for file in split]
        known = set().union(*(run.seen_files() for run in runs))
        count = sum(file.resolve() in known for file in files)
        return f"{count:,} of these {len(files):,} images" if count else None
    # cifar100-coarse has the images of cifar100.
    datasets = {run.config().data.dataset.split("-")[0] for run in runs}
    return "these images" if subject.data.dataset.split("-")[0] in datasets else None
