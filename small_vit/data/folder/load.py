"""Loads a folder of images as a dataset."""

from pathlib import Path

import numpy as np

from small_vit.data.folder.dataset import Duplicates, FolderDataset
from small_vit.data.folder.decoded import read_images
from small_vit.data.folder.division import PARTS, divide, require_every_class
from small_vit.data.folder.duplicates import find_duplicates
from small_vit.data.folder.groups import group_ids, join_repeats, require_separate
from small_vit.data.folder.listing import list_images
from small_vit.data.split import Split
from small_vit.sizes import as_pair


def load_folder(data, image_size):
    """Load images from a folder or a table, divided into training, validation and test.

    If the parts are not given, images that hold the same picture stay in one part, of one class
    also those that look alike.

    Args:
        data: `DataConfig`, whose `data_dir` is the folder or the table (see `list_images`).
        image_size: Size of the images of the dataset, an int or (height, width).

    Returns:
        A `FolderDataset`, named as the folder. It has no validation split if `validation_split` is
        "none" or "test". Its images are in a memory-mapped file.

    Raises:
        InputError: if the folder, a file in it or a setting cannot be used.
    """
    listing = list_images(data.data_dir)
    groups = _groups(listing, data.group_by)
    # Whatever is wrong is said before the images are read, which may take minutes.
    _divide(listing, np.arange(len(listing.files)), groups, data)
    decoded = read_images(
        listing, as_pair(image_size), data.fit, data.cache_dir, data.skip_unreadable
    )
    labels = np.array([listing.files[row].label for row in decoded.rows], np.int32)
    repeats = add_equal(find_duplicates(decoded.digests, decoded.hashes), decoded.digests)
    groups = join_repeats(groups[decoded.rows], labels, repeats)
    parts = _divide(listing, decoded.rows, groups, data)
    paths = np.array([listing.files[row].path for row in decoded.rows], dtype=object)

    dropped = repeats_to_drop(labels, parts, repeats) if data.drop_duplicates else []
    kept = np.setdiff1d(np.arange(len(labels)), dropped)
    require_every_class(np.unique(parts), parts[kept], labels[kept], listing.class_names)
    everything = Split(decoded.images, labels)
    rows = {part: kept[parts[kept] == part] for part in PARTS}
    splits = {part: everything.subset(inside) for part, inside in rows.items() if len(inside)}
    return FolderDataset(
        name=Path(data.data_dir).expanduser().resolve().name,
        train=splits["training"],
        validation=splits.get("validation"),
        test=splits["test"],
        class_names=listing.class_names,
        files={part: tuple(paths[rows[part]]) for part in splits},
        skipped=decoded.skipped,
        duplicates=tuple(
            Duplicates(
                files=tuple(paths[images]),
                classes=tuple(listing.class_names[label] for label in labels[images]),
                parts=tuple(parts[images].tolist()),
                exact=exact,
            )
            for images, exact in repeats
        ),
        dropped=tuple(paths[dropped]),
        notes=(*listing.notes, *decoded.notes, *_notes_on_parts(listing, splits, data)),
    )


def add_equal(repeats, digests):
    """Add the sets of equal pictures that lie within sets that only look alike.

    Args:
        repeats: `(images, exact)` of each set of duplicates, from `find_duplicates`.
        digests: Of each image.

    Returns:
        List of `(images, exact)`; an image is in one set of either kind at most.
    """
    added = []
    for images, exact in repeats:
        added.append((images, exact))
        if not exact:
            own = np.array([digests[image] for image in images])
            values, counts = np.unique(own, return_counts=True)
            added += [(images[own == value], True) for value in values[counts > 1]]
    return added


def repeats_to_drop(labels, parts, repeats):
    """Choose the duplicates to leave out, so that no picture is in two parts or two classes.

    Of equal pictures one stays, in the test set if it is there, else in validation, else in
    training; none stays if they have several labels. Of pictures that only look alike, those in the
    same part stay: these may be different pictures.

    Args:
        labels: int `(images,)`.
        parts: str `(images,)`, the part of each image.
        repeats: `(images, exact)` of each set of duplicates, from `add_equal`.

    Returns:
        Indices of the images to leave out, increasing.
    """
    dropped = set()
    for images, exact in repeats:
        rank = np.array([PARTS.index(part) for part in parts[images]])
        if not exact:
            leave_out = images[rank < rank.max()]
        elif len(np.unique(labels[images])) > 1:
            leave_out = images
        else:
            leave_out = np.delete(images, rank.argmax())
        dropped.update(leave_out.tolist())
    return sorted(dropped)


def _groups(listing, group_by):
    if group_by is None:
        return np.arange(len(listing.files))
    paths = [file.path for file in listing.files]
    groups = group_ids(paths, group_by)
    require_separate([file.part for file in listing.files], groups, paths)
    return groups


def _divide(listing, rows, groups, data):
    files = [listing.files[row] for row in rows]
    return divide(
        [file.part for file in files],
        np.array([file.label for file in files]),
        groups,
        listing.class_names,
        data.validation_fraction,
        data.test_fraction,
        data.validation_split,
        data.split_seed,
    )


def _notes_on_parts(listing, splits, data):
    """Say how many images each part has, and where the parts are from."""
    counts = ", ".join(f"{len(split):,} for {part}" for part, split in splits.items())
    yield f"Images: {counts}."
    given = {file.part for file in listing.files} - {None}
    if not given:
        yield f"The parts were drawn from each class, with split_seed {data.split_seed}."
        return
    missing = [part for part in splits if part not in given]
    if missing:
        yield (
            f"Split off training, from each class, with split_seed {data.split_seed}: "
            f"{' and '.join(missing)}."
        )
    if "validation" in given and "validation" not in splits:
        yield f"The validation images are for training: validation_split={data.validation_split}."
