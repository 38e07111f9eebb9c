"""Finds images that hold the same picture."""

import itertools

import numpy as np

MAX_DIFFERENT_BITS = 2
"""Of 64. Chosen by looking at pairs of real folders: up to 2, all pairs of clothes, flowers, fires
and satellite tiles were one picture, re-encoded or recoloured. At 4, some were two trousers on one
floor or two pieces of sea; of the flowers, most pairs up to 8 still were one picture."""

MIN_BITS_SET = 24
"""A hash of a picture has half its bits set. A constant picture, or one of stripes, has few, and
its hash says nothing."""

COMPARED_AT_ONCE = 2**22

_BITS_SET = np.unpackbits(np.arange(2**16, dtype=np.uint16).view(np.uint8)).reshape(-1, 16)
_BITS_SET = _BITS_SET.sum(1, dtype=np.uint8)


def perceptual_hashes(thumbnails):
    """Return the 64-bit hashes that ImageHash's `phash` has of pictures, all at once.

    A bit tells whether one of the 8 x 8 lowest frequencies is above their median.

    Args:
        thumbnails: uint8 `(pictures, 32, 32)` or a list of such pictures: grey levels.

    Returns:
        uint64 `(pictures,)`; the first bit, of the constant, is the highest.
    """
    from scipy.fft import dct

    levels = np.reshape(thumbnails, (-1, 32, 32)).astype(float)
    low = dct(dct(levels, axis=1), axis=2)[:, :8, :8].reshape(-1, 64)
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)


def find_duplicates(digests, hashes):
    """Group the images that hold the same picture, or pictures that look alike.

    Args:
        digests: Of each image; equal where all pixels are equal.
        hashes: uint64 `(images,)`: perceptual hashes, as of `Decoded`.

    Returns:
        List of `(indices, exact)`: the increasing indices of a group's images, two or more, and
        whether all its pixels are equal. An image is in one group at most. Groups are in the order
        of their first images.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if len(digests) == 0:
        return []
    _, firsts, kinds = np.unique(np.asarray(digests), return_index=True, return_inverse=True)
    one, other = _near_pairs(np.asarray(hashes)[firsts])
    graph = coo_array((np.ones(len(one), bool), (one, other)), (len(firsts), len(firsts)))
    _, components = connected_components(graph, directed=False)
    groups_of_images = components[kinds]
    order = np.argsort(groups_of_images, kind="stable")
    borders = np.flatnonzero(np.diff(groups_of_images[order])) + 1
    groups = [group for group in np.split(order, borders) if len(group) > 1]
    groups.sort(key=lambda group: group[0])
    return [(group, bool((kinds[group] == kinds[group[0]]).all())) for group in groups]


def _near_pairs(hashes):
    """Return pairs of indices that connect all hashes that differ in few bits, as two arrays.

    Of more bands than bits may differ, at least one is equal: only such pairs are compared.
    """
    telling = np.flatnonzero(_count_bits(hashes) >= MIN_BITS_SET)
    _, firsts, which = np.unique(hashes[telling], return_index=True, return_inverse=True)
    # Each is paired with the first of its hash. All pairs of thousands that look alike, as the
    # frames of a fixed camera do, would fill the memory.
    pairs = [np.stack([telling[firsts][which], telling])]
    telling = telling[firsts]
    edges = np.linspace(0, 64, MAX_DIFFERENT_BITS + 2).astype(int)
    for low, high in itertools.pairwise(edges):
        band = (hashes[telling] >> np.uint64(low)) & np.uint64(2 ** int(high - low) - 1)
        order = np.argsort(band, kind="stable")
        borders = np.flatnonzero(np.diff(band[order])) + 1
        for bucket in np.split(telling[order], borders):
            step = max(1, COMPARED_AT_ONCE // max(1, len(bucket)))
            for first in range(0, len(bucket) - 1, step):
                part = bucket[first : first + step]
                different = _count_bits(hashes[part, None] ^ hashes[bucket])
                one, other = np.nonzero(different <= MAX_DIFFERENT_BITS)
                pairs.append(np.stack([part[one], bucket[other]])[:, part[one] < bucket[other]])
    return np.concatenate(pairs, axis=1)


def _count_bits(numbers):
    """The number of bits that are set in each uint64."""
    sixteens = np.ascontiguousarray(numbers)[..., None].view(np.uint16)
    return _BITS_SET[sixteens].sum(-1, dtype=np.uint8)
