"""Epochs in which all classes are equally frequent."""

import numpy as np
import pytest

from small_vit.data import Split
from small_vit.data.batches import ShuffledBatches

pytestmark = pytest.mark.any_backend

COUNTS = [50, 3, 17]
LABELS = np.repeat(np.arange(3, dtype="int32"), COUNTS)


def batches_of(labels=LABELS, seed=0, batch_size=8, **kwargs):
    split = Split(np.zeros((len(labels), 1, 1, 1), "uint8"), labels)
    return ShuffledBatches(split, labels.max() + 1, batch_size, seed, balanced=True, **kwargs)


def order(batches, epoch=0):
    batches.start_epoch(epoch)
    return batches.order


def spread(counts):
    return max(counts) - min(counts)


@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize("drop_last", [False, True])
def test_classes_are_equally_frequent_and_so_are_the_images_of_a_class(passes, drop_last):
    batches = batches_of(passes=passes, drop_last=drop_last)
    for epoch in range(5):
        rows = order(batches, epoch)
        assert len(rows) == (70 * passes // 8 * 8 if drop_last else 70 * passes)
        assert spread(np.bincount(LABELS[rows])) <= 1
        uses = np.bincount(rows, minlength=70)
        assert all(spread(uses[label == LABELS]) <= 1 for label in range(3))


def test_the_order_depends_on_seed_and_epoch_alone():
    batches, same, other = batches_of(), batches_of(), batches_of(seed=1)
    order(same, epoch=3)  # what came before does not matter
    np.testing.assert_array_equal(order(batches, 5), order(same, 5))
    assert (order(batches, 5) != order(batches, 6)).any()
    assert (order(batches, 5) != order(other, 5)).any()


def test_over_many_epochs_no_class_image_or_place_is_preferred():
    orders = np.stack([order(batches_of(), epoch) for epoch in range(1500)])
    frequency = np.bincount(LABELS[orders].ravel()) / orders.size
    np.testing.assert_allclose(frequency, 1 / 3, atol=0.002)
    uses = np.bincount(orders.ravel()) / len(orders)
    np.testing.assert_allclose(uses, np.take(70 / 3 / np.array(COUNTS), LABELS), rtol=0.1)
    at_first_place = np.bincount(LABELS[orders[:, 0]]) / len(orders)
    np.testing.assert_allclose(at_first_place, 1 / 3, atol=0.05)


def test_targets_are_the_labels_of_the_images():
    batches = batches_of()
    rows = order(batches)
    targets = np.concatenate([batches[index][1] for index in range(len(batches))])
    np.testing.assert_array_equal(targets.argmax(-1), LABELS[rows])


def test_a_class_without_images_is_not_drawn():
    labels = np.repeat(np.int32([0, 2]), [9, 1])
    assert np.bincount(labels[order(batches_of(labels))]).tolist() == [5, 0, 5]


def test_more_classes_than_images_in_an_epoch():
    batches = batches_of(np.arange(5, dtype="int32"), batch_size=2, drop_last=True)
    assert len(np.unique(order(batches))) == 4


def test_unbalanced_orders_are_what_they_were():
    split = Split(np.zeros((7, 1, 1, 1), "uint8"), np.zeros(7, "int32"))
    batches = ShuffledBatches(split, 1, 2, seed=3, passes=2)
    generator = np.random.default_rng([3, 4])
    expected = np.concatenate([generator.permutation(7), generator.permutation(7)])
    np.testing.assert_array_equal(order(batches, 4), expected)
