"""The outputs of a model for a split: batches, padding, parts."""

import keras
import numpy as np
import pytest

from small_vit.data import Split
from small_vit.results.predictions import predict_split


class FirstPixels(keras.Model):
    """Its logits are each image's first pixels."""

    def __init__(self):
        super().__init__()
        self.batch_sizes = set()

    def call(self, images):
        self.batch_sizes.add(images.shape[0])
        return images[:, 0, :, 0]


@pytest.mark.parametrize("part_bytes", [1, 10**6])
@pytest.mark.parametrize("examples", [1, 3, 4, 5, 8, 9])
def test_predict_pads_to_whole_batches_and_trims(examples, part_bytes, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (examples, 2, 3, 1), "uint8")
    model, split = FirstPixels(), Split(images, np.zeros(examples, "int32"))
    model.compile(run_eagerly=True)
    monkeypatch.setattr(Split.parts, "__defaults__", (part_bytes, 1))

    logits = predict_split(model, split, batch_size=4)

    np.testing.assert_array_equal(logits, images[:, 0, :, 0])
    assert model.batch_sizes == {4}
