"""The part of a report about the images: splits, samples, what was skipped or occurs twice."""

import numpy as np

from small_vit.data.folder.dataset import FolderDataset
from small_vit.plots.examples import plot_samples, samples_per_class
from small_vit.report.markdown import escape, join, picture, table

MOST_CLASSES = 20
"""More classes than this are not listed one by one."""
MOST_LISTED = 20
"""More files than this are not listed."""


def data_section(directory, config, dataset):
    """Write the pictures of the images into a run directory, and return the Markdown about them.

    Args:
        directory: `RunDirectory`.
        config: The run's `ExperimentConfig`.
        dataset: Its `Dataset`.
    """
    about_files = ()
    if isinstance(dataset, FolderDataset):
        notes = "\n".join(f"- {escape(note)}" for note in dataset.notes)
        about_files = notes, _skipped(dataset.skipped), _duplicates(dataset)
    return join(
        "## The images",
        _split_table(dataset),
        _held_out(config.data, dataset),
        *about_files,
        _samples(directory, dataset),
    )


def copies_in_test(dataset):
    """Count the test images of a `FolderDataset` that have a copy outside the test set."""
    dropped, copies = set(dataset.dropped), 0
    for group in dataset.duplicates:
        files = zip(group.files, group.parts, strict=True)
        parts = [part for file, part in files if file not in dropped]
        if set(parts) - {"test"}:
            copies += parts.count("test")
    return copies


def _split_table(dataset):
    counts = {
        name: np.bincount(split.labels, minlength=dataset.num_classes)
        for name, split in dataset.splits.items()
    }
    total = ["all", *(f"{of.sum():,}" for of in counts.values())]
    if dataset.num_classes > MOST_CLASSES:
        fewest = ["fewest of a class", *(f"{of.min():,}" for of in counts.values())]
        most = ["most of a class", *(f"{of.max():,}" for of in counts.values())]
        return table([f"{dataset.num_classes:,} classes", *counts], [fewest, most, total])
    rows = [
        [escape(name), *(f"{of[label]:,}" for of in counts.values())]
        for label, name in enumerate(dataset.class_names)
    ]
    return table(["class", *counts], [*rows, total])


def _held_out(data, dataset):
    if dataset.validation is not None or data.validation_split in ("none", "test"):
        return ""
    return f"*{data.validation_fraction:.0%} of the training images are for validation.*"


def _skipped(skipped):
    if not skipped:
        return ""
    rows = [[escape(path), escape(reason)] for path, reason in skipped[:MOST_LISTED]]
    return join(
        "### Files that were left out",
        f"{_count(len(skipped), 'file')} cannot be read as images:",
        table(["file", "reason"], rows, text_columns=2),
        _first_only(skipped),
    )


def _duplicates(dataset):
    groups = dataset.duplicates
    if not groups:
        return ""
    rows = [
        [
            "equal" if group.exact else "alike",
            _across(group),
            "; ".join(
                f"{escape(file)} ({part}, {escape(name)})"
                for file, name, part in zip(group.files, group.classes, group.parts, strict=True)
            ),
        ]
        for group in groups[:MOST_LISTED]
    ]
    exact = sum(group.exact for group in groups)
    across = sum(len(set(group.parts)) > 1 for group in groups)
    several = sum(len(set(group.classes)) > 1 for group in groups)
    told = (
        f"{_count(len(groups), 'group')}: {exact:,} of equal pixels, {len(groups) - exact:,} that "
        f"look alike. {across:,} in several splits, {several:,} in several classes."
    )
    if dataset.dropped:
        told += f" {_count(len(dataset.dropped), 'file')} left out."
    return join(
        "### Pictures that occur more than once",
        told,
        table(["pixels", "in several", "files"], rows, text_columns=3),
        _first_only(groups),
    )


def _across(group):
    kinds = {"splits": group.parts, "classes": group.classes}
    return " and ".join(kind for kind, values in kinds.items() if len(set(values)) > 1)


def _samples(directory, dataset):
    labels = dataset.train.labels
    present = np.unique(labels)
    shown = present[np.unique(np.linspace(0, len(present) - 1, MOST_CLASSES).round().astype(int))]
    count = samples_per_class(dataset.image_shape, len(shown))
    images = [dataset.train.read(_evenly(np.flatnonzero(labels == each), count)) for each in shown]
    figure = plot_samples(images, [dataset.class_names[label] for label in shown])
    some = "" if len(shown) == len(present) else f" of {len(shown)} of {len(present)} classes"
    return join(
        "### Samples",
        picture(directory, "samples.png", figure, "Training images of each class"),
        f"*Training images{some}, before augmentation.*",
    )


def _evenly(rows, count):
    """Up to `count` of the rows, spread evenly: neighbours in a folder often look alike."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, count).round().astype(int))]


def _first_only(listed):
    if len(listed) <= MOST_LISTED:
        return ""
    return f"*The first {MOST_LISTED} of {len(listed):,}.*"


def _count(number, noun):
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
