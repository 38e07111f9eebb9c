"""The loop over epochs, for every backend; `StepEngine` and `JaxEngine` run the steps of an epoch.

Both train the same steps in the same order and call the same Keras callbacks. They differ from
`keras.Model.fit` in two ways: training can start within an epoch, and no step waits for the device.
"""

import keras
import numpy as np


class Engine:
    """Trains a compiled model. A subclass runs the steps of an epoch.

    Callbacks of batches get no logs, since computing them would wait for the device. They can call
    `model.get_metrics_result()`.

    Args:
        model: `keras.Model`, compiled; its loss takes one-hot targets.
        batches: `ShuffledBatches`.
    """

    def __init__(self, model, batches):
        self.model = model
        self.batches = batches
        # Keras creates the metrics' variables at the first batch; a checkpoint needs them before.
        targets = np.zeros((1, batches.num_classes), "float32")
        model.compute_metrics(None, targets, targets)
        model.reset_metrics()

    def run(self, initial_epoch, epochs, callbacks, initial_step=0):
        """Train epochs `initial_epoch` to `epochs - 1`, counted from 0.

        Args:
            initial_epoch: The first epoch.
            epochs: The number of epochs of the whole training.
            callbacks: List of Keras callbacks.
            initial_step: Steps of the first epoch that were trained before. The model's metrics
                must hold their results.
        """
        callbacks = keras.callbacks.CallbackList(
            callbacks, model=self.model, epochs=epochs, steps=len(self.batches), verbose=0
        )
        self.model.stop_training = False
        callbacks.on_train_begin()
        # As in `fit`: BackupAndRestore sets `_initial_epoch` if it resumes a run.
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
        # An optimizer that averages the weights puts the averages into the model.
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        callbacks.on_train_end()

    def _run_epoch(self, initial_step, callbacks):
        """Train the steps of the epoch from `initial_step` on, unless `model.stop_training`."""
        raise NotImplementedError
