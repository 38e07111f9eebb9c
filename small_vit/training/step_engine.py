"""The engine for TensorFlow and PyTorch: one step per call."""

import keras

from small_vit.data.tf_data import without_autotuning
from small_vit.training.engine import Engine


class StepEngine(Engine):
    """Trains one step per call, with the step function that `keras.Model.fit` compiles."""

    def _run_epoch(self, initial_step, callbacks):
        self.model.make_train_function()
        feed = _feed(self.batches, initial_step)
        for step in range(initial_step, len(self.batches)):
            callbacks.on_train_batch_begin(step)
            self.model.train_function(next(feed))
            callbacks.on_train_batch_end(step)
            if self.model.stop_training:
                return


def _feed(batches, initial_step):
    """Yield the argument of Keras's step function: on TensorFlow an iterator, else `[batch]`."""
    if keras.backend.backend() != "tensorflow":
        for step in range(initial_step, len(batches)):
            yield [batches[step]]
        return

    import tensorflow as tf

    dataset = _tensorflow_dataset(batches, initial_step)
    iterator = iter(tf.distribute.get_strategy().experimental_distribute_dataset(dataset))
    while True:
        yield iterator


def _tensorflow_dataset(batches, initial_step):
    """Return the batches from `initial_step` on as a `tf.data.Dataset`."""
    import tensorflow as tf

    images, targets = (tf.TensorSpec((None, *array.shape[1:]), array.dtype) for array in batches[0])
    dataset = tf.data.Dataset.from_generator(
        lambda: (batches[step] for step in range(initial_step, len(batches))),
        output_signature=(images, targets),
    )
    return without_autotuning(dataset)
