"""Who runs the epochs: `StepEngine` on TensorFlow and PyTorch, `JaxEngine` on JAX.

Both train the same steps in the same order and fire the same Keras callbacks. They differ from
`keras.Model.fit` in two ways: training may begin within an epoch, and no step waits for the device.
"""

import keras
import numpy as np

from small_vit.tf_data import without_autotuning


def make_engine(model, batches):
    """Return the engine of the Keras backend in use, made with the arguments of `Engine`."""
    if keras.backend.backend() == "jax":
        from small_vit.jax_engine import JaxEngine

        return JaxEngine(model, batches)
    return StepEngine(model, batches)


class Engine:
    """Trains a compiled model; how it runs the steps of an epoch is its subclass's.

    Callbacks of batches get no logs: to compute them would wait for the device. What they need is
    in `model.get_metrics_result()`.

    Args:
        model: `keras.Model`, compiled; its loss takes one-hot targets.
        batches: `ShuffledBatches`.
    """

    def __init__(self, model, batches):
        self.model = model
        self.batches = batches
        # Keras makes the metrics' variables at the first batch it sees; a checkpoint needs them.
        targets = np.zeros((1, batches.num_classes), "float32")
        model.compute_metrics(None, targets, targets)
        model.reset_metrics()

    def run(self, initial_epoch, epochs, callbacks, initial_step=0):
        """Train epochs `initial_epoch` to `epochs - 1`, counted from 0.

        Args:
            initial_epoch: The first epoch.
            epochs: The number of epochs of the whole training.
            callbacks: List of Keras callbacks.
            initial_step: Steps of the first epoch that were trained before; the model's metrics
                hold what they measured.
        """
        callbacks = keras.callbacks.CallbackList(
            callbacks, model=self.model, epochs=epochs, steps=len(self.batches), verbose=0
        )
        self.model.stop_training = False
        callbacks.on_train_begin()
        # As `fit` does: BackupAndRestore has set it if it found a run to go on with.
        initial_epoch = self.model._initial_epoch or initial_epoch
        for epoch in range(initial_epoch, epochs):
            if not initial_step:
                self.model.reset_metrics()
            self.batches.start_epoch(epoch)
            callbacks.on_epoch_begin(epoch)
            self._run_epoch(initial_step, callbacks)
            callbacks.on_epoch_end(epoch, self.model.get_metrics_result())
            if self.model.stop_training:
                break
            initial_step = 0
        # An optimizer that averages the weights (use_ema) puts the averages into the model.
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        callbacks.on_train_end()

    def _run_epoch(self, initial_step, callbacks):
        """Train the steps of the epoch from `initial_step` on, unless `model.stop_training`."""
        raise NotImplementedError


class StepEngine(Engine):
    """Trains one step a call, by the step function that `keras.Model.fit` compiles."""

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
    """Yield what Keras's step function takes: an iterator on TensorFlow, else a list of a batch."""
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
