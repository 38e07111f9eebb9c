import numpy as np

from small_vit.datasets import Split
from small_vit.engine import ShuffledBatches


def split_of(examples):
    """Every image is filled with its own index."""
    images = np.broadcast_to(
        np.arange(examples, dtype="uint8")[:, None, None, None], (examples, 2, 2, 1)
    )
    return Split(images, np.arange(examples, dtype="int32") % 3)


def seen(batches, epoch):
    batches.start_epoch(epoch)
    return np.concatenate([batches[index][0][:, 0, 0, 0] for index in range(len(batches))])


def test_an_epoch_shows_each_example_once():
    batches = ShuffledBatches(split_of(10), num_classes=3, batch_size=4, seed=0)
    assert len(batches) == 3
    assert sorted(seen(batches, epoch=0)) == list(range(10))


def test_targets_are_the_labels_of_the_images():
    batches = ShuffledBatches(split_of(10), num_classes=3, batch_size=4, seed=0)
    images, targets = batches[1]
    np.testing.assert_array_equal(targets.argmax(-1), images[:, 0, 0, 0] % 3)
    np.testing.assert_array_equal(targets.sum(-1), 1)


def test_the_order_depends_on_seed_and_epoch_alone():
    batches = ShuffledBatches(split_of(50), 3, batch_size=8, seed=0)
    same = ShuffledBatches(split_of(50), 3, batch_size=8, seed=0)
    other = ShuffledBatches(split_of(50), 3, batch_size=8, seed=1)
    seen(same, epoch=0)  # what came before does not matter
    np.testing.assert_array_equal(seen(batches, epoch=5), seen(same, epoch=5))
    assert (seen(batches, epoch=5) != seen(batches, epoch=6)).any()
    assert (seen(batches, epoch=5) != seen(other, epoch=5)).any()


def test_devices_share_the_last_batch_evenly():
    batches = ShuffledBatches(split_of(11), 3, batch_size=4, seed=0, devices=2)
    sizes = [len(batches[index][0]) for index in range(len(batches))]
    assert sizes == [4, 4, 2]
