"""Images that hold the same picture, found by digest and perceptual hash."""

import itertools
import time

import numpy as np
import pytest

from small_vit.data.folder.duplicates import MAX_DIFFERENT_BITS, _near_pairs, find_duplicates

pytestmark = pytest.mark.any_backend

RNG = np.random.default_rng(0)


def random_hashes(count):
    """Hashes with half their bits set, as those of pictures have."""
    bits = RNG.permuted(np.tile([0, 1], (count, 32)).astype(np.uint8), axis=1)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def flip(value, *bits):
    for bit in bits:
        value = value ^ np.uint64(1 << bit)
    return value


def plain(groups):
    return [(indices.tolist(), exact) for indices, exact in groups]


def test_equal_digests_are_exact_and_like_hashes_are_near():
    hashes = random_hashes(7)
    hashes[3] = hashes[0]
    hashes[5] = flip(hashes[1], 0, 63)
    hashes[6] = flip(hashes[2], *range(MAX_DIFFERENT_BITS + 1))
    digests = ["a", "b", "c", "a", "d", "e", "f"]
    assert plain(find_duplicates(digests, hashes)) == [([0, 3], True), ([1, 5], False)]


def test_copies_of_a_picture_with_one_that_looks_like_it_are_one_group():
    hashes = random_hashes(4)
    hashes[2] = hashes[0]
    hashes[3] = flip(hashes[0], 20)
    assert plain(find_duplicates(["a", "b", "a", "c"], hashes)) == [([0, 2, 3], False)]


def test_pictures_of_one_colour_are_alike_only_if_they_are_equal():
    hashes = np.array([0, 1, 0, 1, 3], np.uint64)
    assert plain(find_duplicates(["a", "b", "c", "b", "d"], hashes)) == [([1, 3], True)]


@pytest.mark.parametrize("count", [0, 1])
def test_few_images_have_no_duplicates(count):
    assert find_duplicates(["a"] * count, random_hashes(count)) == []


def test_thousands_of_one_hash_are_one_group_in_little_memory():
    """The frames of a fixed camera; all their pairs would be 200 million."""
    hashes = np.concatenate([np.repeat(random_hashes(1), 20_000), random_hashes(5)])
    digests = [str(index) for index in range(len(hashes))]
    ((indices, exact),) = find_duplicates(digests, hashes)
    assert (indices.tolist(), exact) == (list(range(20_000)), False)
    one, _ = _near_pairs(hashes)
    assert len(one) < 2 * len(hashes)


def test_all_pairs_are_found():
    """Against a comparison of each hash with each other, for hashes that are close together."""
    base = random_hashes(20)
    hashes = np.array([flip(value, *RNG.integers(0, 64, 3)) for value in np.repeat(base, 10)])
    near = {
        pair
        for pair in itertools.combinations(range(200), 2)
        if int(hashes[pair[0]] ^ hashes[pair[1]]).bit_count() <= MAX_DIFFERENT_BITS
    }
    groups = [set(indices.tolist()) for indices, _ in find_duplicates(list(range(200)), hashes)]
    group_of = {index: number for number, group in enumerate(groups) for index in group}
    assert near and set(group_of) == {index for pair in near for index in pair}
    assert all(group_of[one] == group_of[other] for one, other in near)


def test_a_hundred_thousand_images_take_seconds():
    hashes = random_hashes(100_000)
    hashes[70_000] = flip(hashes[30_000], 40)
    started = time.process_time()
    groups = find_duplicates(list(range(100_000)), hashes)
    assert time.process_time() - started < 20
    assert [30_000, 70_000] in [indices.tolist() for indices, _ in groups]
