"""The training images in batches, in a new order each epoch."""

import keras
import numpy as np


class ShuffledBatches(keras.utils.PyDataset):
    """Batches in an order that depends only on seed and epoch, so that training can be resumed.

    The last batch of an epoch is smaller, unless it is dropped. With several devices it is cut to a
    multiple of their number, since JAX gives each device an equal share.

    Args:
        split: Images and labels.
        num_classes: Width of the one-hot targets.
        batch_size: Images per batch.
        seed: See above.
        devices: Number of devices that share a batch.
        passes: Passes over the images in an epoch, one after the other. Only a batch in which one
            pass ends and the next begins may hold an image twice.
        drop_last: Whether the smaller last batch of an epoch is left out.
        balanced: Whether all classes are equally frequent in an epoch, to one image. The epoch
            keeps its number of images. Of a rare class each image is then shown several times, of a
            frequent one some images only; within a class these numbers differ by at most one.
    """

    def __init__(
        self,
        split,
        num_classes,
        batch_size,
        seed,
        devices=1,
        passes=1,
        drop_last=False,
        balanced=False,
    ):
        super().__init__()
        self.split = split
        self.num_classes = num_classes
        self.batch_size = batch_size
        self.seed = seed
        self.passes = passes
        self.balanced = balanced
        multiple = batch_size if drop_last else devices
        self.examples = len(split) * passes // multiple * multiple
        self.start_epoch(0)

    def start_epoch(self, epoch):
        """Draw the order of epoch number `epoch`."""
        generator = np.random.default_rng([self.seed, epoch])
        if self.balanced:
            self.order = self._balanced_order(generator)
            return
        orders = [generator.permutation(len(self.split)) for _ in range(self.passes)]
        self.order = np.concatenate(orders)[: self.examples]

    def _balanced_order(self, generator):
        labels = generator.permutation(np.unique(self.split.labels))
        each, more = divmod(self.examples, len(labels))
        chosen = []
        for number, label in enumerate(labels):
            rows = generator.permutation(np.flatnonzero(self.split.labels == label))
            chosen.append(np.resize(rows, each + (number < more)))  # repeats the rows
        return generator.permutation(np.concatenate(chosen))

    def __len__(self):
        return -(-self.examples // self.batch_size)

    def __getitem__(self, index):
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        targets = keras.utils.to_categorical(self.split.labels[rows], self.num_classes)
        return self.split.read(rows), targets.astype("float32")
