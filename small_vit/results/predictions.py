"""A model's outputs for the images of a split."""

import keras
import numpy as np

from small_vit import hosts
from small_vit.data.tf_data import without_autotuning


def predict_split(model, split, batch_size=256):
    """Return a model's outputs for the images of a split; images are read part by part.

    Args:
        model: Maps images to outputs, for instance logits or features.
        split: `Split`.
        batch_size: Images per batch.

    Returns:
        float32 array `(examples, outputs)`.
    """
    parts = split.parts(multiple=batch_size)
    return np.concatenate([_predict(model, images, batch_size) for images in parts])


def _predict(model, images, batch_size):
    """Predict in batches of one size.

    The last batch is padded to full size. One compiled program then serves all batches, and the
    devices can share each batch equally.
    """
    padding = -len(images) % batch_size
    padded = np.pad(images, ((0, padding), (0, 0), (0, 0), (0, 0)))
    if hosts.several():
        outputs = hosts.predict(model, padded, batch_size)
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        batches = tf.data.Dataset.from_tensor_slices(padded).batch(batch_size)
        outputs = model.predict(without_autotuning(batches), verbose=0)
    else:
        outputs = model.predict(padded, batch_size=batch_size, verbose=0)
    # A model in half precision has features of half precision.
    return outputs[: len(images)].astype("float32")
