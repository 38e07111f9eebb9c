"""Who runs the epochs.

`FitEngine` does it with `keras.Model.fit`, on any backend; on JAX `JaxEngine` does it faster. Both
take the same arguments, fire the same Keras callbacks and draw the same order of examples.
"""

import keras

from small_vit.tf_data import without_autotuning


def make_engine(model, batches):
    """Return the faster engine of the Keras backend in use, made with `FitEngine`'s arguments."""
    if keras.backend.backend() == "jax":
        from small_vit.jax_engine import JaxEngine

        return JaxEngine(model, batches)
    return FitEngine(model, batches)


class FitEngine:
    """Trains a compiled model on images in memory, through `keras.Model.fit`.

    Args:
        model: `keras.Model`, compiled before `run`; its loss takes one-hot targets.
        batches: `ShuffledBatches`.
    """

    def __init__(self, model, batches):
        self.model = model
        self.batches = batches

    def run(self, initial_epoch, epochs, callbacks):
        """Train epochs `initial_epoch` to `epochs - 1`, counted from 0, firing `callbacks`."""
        on_tensorflow = keras.backend.backend() == "tensorflow"
        self.model.fit(
            _tensorflow_dataset(self.batches) if on_tensorflow else self.batches,
            initial_epoch=initial_epoch,
            epochs=epochs,
            callbacks=[_EpochOrder(self.batches), *callbacks],
            shuffle=False,
            verbose=0,
        )


def _tensorflow_dataset(batches):
    """Return what Keras makes of a `PyDataset`, without tf.data's autotuning."""
    import tensorflow as tf

    images, targets = (tf.TensorSpec((None, *array.shape[1:]), array.dtype) for array in batches[0])
    dataset = tf.data.Dataset.from_generator(
        lambda: (batches[index] for index in range(len(batches))),
        output_signature=(images, targets),
    )
    return without_autotuning(dataset.apply(tf.data.experimental.assert_cardinality(len(batches))))


class _EpochOrder(keras.callbacks.Callback):
    """Tells the batches which epoch it is; `PyDataset`'s own hooks do not."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.start_epoch(epoch)
