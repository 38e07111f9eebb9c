"""Decodes image files once into a memory-mapped array, which later runs use again."""

import os
import shutil
import sys
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import PIL

from small_vit.data.folder.cache import Partial, load_stored, locked, open_cache
from small_vit.data.folder.examine import content_of, stamp_of
from small_vit.data.folder.workers import examine_all
from small_vit.data.image_files import is_grey
from small_vit.errors import InputError
from small_vit.progress_bar import image_bar

FORMAT = 2
"""Of the cache. Raise it when the same files would give other pixels, digests or hashes."""

CHUNK_BYTES = 4 * 2**20
CHUNK_FILES = 64


@dataclass(frozen=True, eq=False)
class Decoded:
    """The images of a listing.

    Attributes:
        images: `np.memmap`, uint8 `(images, height, width, channels)`, read-only.
        rows: int `(images,)`: index of each image in the listing's files, increasing.
        digests: Of each image; equal where two pictures have one size, the same pixels when they
            are fitted, and the same thumbnail.
        hashes: uint64 `(images,)`: perceptual hashes; they differ in few bits if two pictures look
            alike.
        skipped: `(path, reason)` of each file that cannot be read.
        notes: Sentences that say what was decided.
    """

    images: np.memmap
    rows: np.ndarray
    digests: list[str]
    hashes: np.ndarray
    skipped: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def read_images(listing, size, fit="crop", cache_dir=None, skip_unreadable=False):
    """Decode the files of a listing, or open what an earlier run has decoded.

    Only files that are new or changed since then are decoded. The images have 1 channel if the
    headers of all files say that they are grey, else 3.

    Args:
        listing: `Listing`.
        size: (height, width).
        fit: How an image becomes `size`, as for `fit_image`.
        cache_dir: Folder in which decoded images are kept. Default: ~/.cache/small_vit/folders.
        skip_unreadable: Leave out files that cannot be read, instead of refusing them.

    Returns:
        `Decoded`.

    Raises:
        InputError: if files cannot be read, all or without `skip_unreadable` any; or if the disk
            lacks the space.
    """
    paths = [file.path for file in listing.files]
    size = tuple(size)
    folder = open_cache(cache_dir, listing.root, [FORMAT, PIL.__version__, size, fit])
    with locked(folder, on_wait=lambda: _say(f"Waiting for another process in {folder}.")):
        stored = load_stored(folder, size)
        if stored is None or not _is_current(stored, listing.root, paths, size, fit):
            _decode_all(listing.root, paths, size, fit, folder, stored)
            stored = load_stored(folder, size)
    _check_unreadable(stored.facts, listing.root, skip_unreadable)
    readable = [(row, each) for row, each in enumerate(stored.facts) if each.reason is None]
    return Decoded(
        images=stored.images,
        rows=np.array([row for row, _ in readable]),
        digests=[each.digest for _, each in readable],
        hashes=np.array([each.hash for _, each in readable], np.uint64),
        skipped=tuple((each.path, each.reason) for each in stored.facts if each.reason),
        notes=("All images are grey: 1 channel.",) if stored.channels == 1 else (),
    )


def _is_current(stored, root, paths, size, fit):
    """Whether the stored images are those of the files as they are now."""
    if [each.path for each in stored.facts] != paths:
        return False
    if not all(_is_unchanged(root, facts) for facts in stored.facts):
        return False
    # What was in the way may be gone, though the file is the same: a permission, for example.
    unreadable = [facts.path for facts in stored.facts if facts.reason]
    again = examine_all(root, unreadable, size, stored.channels, fit, CHUNK_FILES)
    return all(pixels is None for _, pixels in again)


def _is_unchanged(root, facts):
    return stamp_of(os.path.join(root, facts.path)) == facts.stamp


def _decode_all(root, paths, size, fit, folder, stored):
    """Write the images of all files to the cache."""
    shape = (*size, 1 if _all_grey(root, paths) else 3)
    step = max(1, min(CHUNK_FILES, CHUNK_BYTES // int(np.prod(shape))))
    try:
        with Partial(folder, shape, paths, partial(_is_unchanged, root)) as unfinished:
            done = len(unfinished.facts)
            _check_space(len(paths), shape, unfinished.nbytes, folder)
            left = paths[done:]
            known = {}
            if stored and stored.channels == shape[-1]:
                known = _find_known(root, left, stored)
            unknown = [path for path in left if path not in known]
            new = examine_all(root, unknown, size, shape[-1], fit, step)
            with image_bar() as progress, closing(new):  # It ends its workers.
                task = progress.add_task("", total=len(paths), completed=done)
                for first in range(0, len(left), step):
                    chunk = left[first : first + step]
                    pairs = [known[path] if path in known else next(new) for path in chunk]
                    facts = [each for each, _ in pairs]
                    unfinished.add(facts, [pixels for _, pixels in pairs if pixels is not None])
                    progress.advance(task, len(facts))
            unfinished.finish()
    except OSError as error:
        raise InputError(
            f"Could not write to {folder}: {error.strerror}. Free space there or choose another "
            "folder with --cache-dir; what is decoded so far is kept."
        ) from error


def _find_known(root, paths, stored):
    """Return the (facts, pixels) of the paths whose content an earlier pass has decoded."""
    readable = [facts for facts in stored.facts if facts.reason is None]
    rows_by_path = {facts.path: row for row, facts in enumerate(readable)}
    rows_by_content = {facts.content: row for row, facts in enumerate(readable)}
    known = {}
    for path in paths:
        file = os.path.join(root, path)
        stamp = stamp_of(file)
        row = rows_by_path.get(path)
        if row is None or readable[row].stamp != stamp:
            row = rows_by_content.get(content_of(file))
        if row is not None:
            known[path] = replace(readable[row], path=path, stamp=stamp), stored.images[row]
    return known


def _all_grey(root, paths):
    """Whether the headers of all images say that they are grey; it stops at the first that is not.

    Files without a readable header are left out; there must be others.
    """
    found = False
    for path in paths:
        try:
            grey = is_grey(os.path.join(root, path))
        except Exception:  # as in `examine`, which reports it
            continue
        if not grey:
            return False
        found = True
    return found


def _check_space(count, shape, bytes_done, folder):
    needed = count * int(np.prod(shape)) - bytes_done
    free = shutil.disk_usage(folder).free
    height, width, channels = shape
    if needed > free:
        raise InputError(
            f"{count:,} images of {height} x {width} x {channels} need {_megabytes(needed)} in "
            f"{folder}, where {_megabytes(free)} are free. Free space there, choose another folder "
            "with --cache-dir, or a smaller --image-size."
        )
    _say(
        f"Decoding {count:,} images to {height} x {width} x {channels}: {_megabytes(needed)} in "
        f"{folder}"
    )


def _megabytes(number):
    return f"{number / 1e6:,.0f} MB" if number >= 1e6 else f"{number / 1e6:.2g} MB"


def _check_unreadable(facts, root, skip):
    unreadable = [each for each in facts if each.reason]
    if len(unreadable) == len(facts):
        what = "None of the files can be read as an image"
        to_do = "Give a folder of images."
    elif unreadable and not skip:
        what = f"{len(unreadable):,} of {len(facts):,} files cannot be read as images"
        to_do = "Repair or remove them, or leave them out with --skip-unreadable."
    else:
        return
    lines = [f"  {_printable(each.path)}: {each.reason}" for each in unreadable]
    raise InputError("\n".join([f"{what} in {_printable(root)}:", *lines, to_do]))


def _printable(path):
    """The path with a question mark for each byte that is no text."""
    return os.fsencode(path).decode("utf-8", "replace")


def _say(line):
    print(line, file=sys.stderr, flush=True)
