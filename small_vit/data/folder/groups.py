"""Groups of images that stay in one part: of one patient, scene or burst, or of one picture."""

import re

import numpy as np

from small_vit.data.folder.naming import some
from small_vit.errors import InputError


def group_ids(paths, pattern):
    """Number the groups of files that belong together by their paths.

    Args:
        paths: Relative path of each file.
        pattern: Regular expression, searched in each path. Files with the same match, or the same
            groups of it if it has any, are one group. A file without a match is one of its own.

    Returns:
        int array `(paths,)`.

    Raises:
        InputError: if it is no regular expression, or matches no path.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InputError(
            f"group_by must be a regular expression. Received: {pattern!r}, which is none: {error}."
        ) from error
    matches = [expression.search(path) for path in paths]
    if not any(matches):
        raise InputError(
            f"group_by must match some paths. Received: {pattern!r}, which matches none of "
            f"{some(paths)}."
        )
    ids = {}
    keys = [
        ("match", *(match.groups() or [match[0]])) if match else ("path", path)
        for path, match in zip(paths, matches, strict=True)
    ]
    return np.array([ids.setdefault(key, len(ids)) for key in keys])


def require_separate(parts, groups, paths):
    """Raise an `InputError` if a group of `group_by` has images in several given parts.

    Args:
        parts: For each image its given part, or None.
        groups: int `(images,)`, from `group_ids`.
        paths: Relative path of each image.
    """
    first = {}
    for part, group, path in zip(parts, groups.tolist(), paths, strict=True):
        other, other_path = first.setdefault(group, (part, path))
        if other != part:
            raise InputError(
                f"group_by must not join images of several given parts. It joins {other_path} in "
                f"{other} and {path} in {part}. Move such images to one part, or change group_by."
            )


def join_repeats(groups, labels, repeats):
    """Join groups whose images hold the same picture, or look alike and are of one class.

    Args:
        groups: int `(images,)`, the group of each image.
        labels: int `(images,)`, its class.
        repeats: `(images, exact)` of each set of duplicates.

    Returns:
        int `(images,)`, the new groups.
    """
    # Imported here, since SciPy takes long to import.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # The images are nodes. Each is linked to the first of its group, and to the one it repeats.
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    links = [np.stack([np.arange(len(groups)), first[group]])]
    for images, exact in repeats:
        for label in np.unique(labels[images]):
            alike = images if exact else images[labels[images] == label]
            links.append(np.stack([alike, np.full(len(alike), alike[0])]))
    one, other = np.concatenate(links, axis=1)
    graph = coo_array((np.ones(len(one), bool), (one, other)), shape=(len(groups),) * 2)
    return connected_components(graph, directed=False)[1]
