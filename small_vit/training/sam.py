"""Sharpness-aware minimisation: a step with the gradient of a worse point nearby.

SAM: P. Foret et al., arXiv 2010.01412. ASAM: J. Kwon et al., arXiv 2102.11600, algorithm 1.
"""

from functools import partial

import keras
from keras import ops

ETA = 0.01
"""Added to the sizes of the weights in ASAM, as by its authors."""


def perturbation(gradients, sizes, rho):
    """Return the perturbation: what to add to the weights before the second gradient is taken.

    It is rho * T^2 g / |T g|, where g is the gradient and T the sizes, and the norm is over all
    variables together. A factor in g, such as a loss scale, cancels. If g is 0, so is the result.

    Args:
        gradients: List with a tensor for each variable, or None if the loss does not depend on it.
        sizes: List with a tensor or number for each variable: 1 in SAM.
        rho: Length of the perturbation, at least 0.

    Returns:
        List of tensors like the gradients, and 0 for None.
    """
    scaled = [
        None if gradient is None else size * gradient
        for gradient, size in zip(gradients, sizes, strict=True)
    ]
    norm = ops.sqrt(sum(ops.sum(ops.square(each)) for each in scaled if each is not None))
    factor = ops.divide_no_nan(rho, norm)
    return [
        0.0 if each is None else factor * size * each
        for each, size in zip(scaled, sizes, strict=True)
    ]


class _SharpnessAware:
    def __init__(self, *args, rho, adaptive=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.rho = rho
        self.adaptive = adaptive

    def _perturbation(self, weights, gradients):
        return perturbation(gradients, self._sizes(weights), self.rho)

    def _sizes(self, weights):
        if not self.adaptive:
            return [1.0] * len(weights)
        return [
            1.0 if variable.name in ("bias", "beta") else ops.abs(weight) + ETA
            for variable, weight in zip(self.trainable_variables, weights, strict=True)
        ]


class _OnJax(_SharpnessAware):
    def compute_loss_and_updates(self, weights, *arguments, training=False, **keywords):
        """Return the loss at the perturbed weights, and all else as Keras does: at `weights`.

        Keras differentiates the first and logs the rest.
        """
        import jax

        loss = partial(super().compute_loss_and_updates, training=training, **keywords)
        if not training:
            return loss(weights, *arguments)
        fixed = jax.lax.stop_gradient(weights)
        gradients, results = jax.grad(loss, has_aux=True)(fixed, *arguments)
        offsets = self._perturbation(fixed, gradients)
        moved = [weight + offset for weight, offset in zip(weights, offsets, strict=True)]
        perturbed_loss, _ = loss(moved, *arguments)
        return perturbed_loss, results


class _OnVariables(_SharpnessAware):
    """For the backends on which a step reads and writes the variables themselves.

    The variables never hold the perturbed weights. The second pass runs in a `StatelessScope`, in
    which the perturbed weights and the states from before the step replace them. So both passes
    draw the same masks, and the state changes of the second are discarded.
    """

    def _forward(self, x, y, sample_weight):
        """Return the loss scaled for float16, the loss and the outputs."""
        y_pred = self(x, training=True)
        loss = self.compute_loss(x, y, y_pred, sample_weight, training=True)
        return self.optimizer.scale_loss(loss), loss, y_pred

    def _states(self):
        return [ops.copy(variable) for variable in self.non_trainable_variables]

    def _moved(self, gradients):
        weights = [ops.convert_to_tensor(variable) for variable in self.trainable_variables]
        offsets = self._perturbation(weights, gradients)
        return [weight + offset for weight, offset in zip(weights, offsets, strict=True)]

    def _replacing(self, weights, states):
        variables = self.trainable_variables + self.non_trainable_variables
        values = zip(variables, weights + states, strict=True)
        return keras.StatelessScope(values, collect_losses=True)

    def _log(self, loss, x, y, y_pred, sample_weight):
        tracker = next(metric for metric in self.metrics if metric.name == "loss")
        tracker.update_state(loss, sample_weight=ops.shape(keras.tree.flatten(x)[0])[0])
        return self.compute_metrics(x, y, y_pred, sample_weight)


class _OnTensorFlow(_OnVariables):
    def train_step(self, data):
        """Train on a batch."""
        import tensorflow as tf

        batch = keras.utils.unpack_x_y_sample_weight(data)
        x, y, sample_weight = batch
        states = self._states()
        with tf.GradientTape() as tape:
            scaled_loss, loss, y_pred = self._forward(*batch)
        gradients = tape.gradient(scaled_loss, self.trainable_variables)
        moved = self._moved(_sum_over_replicas(gradients))
        with self._replacing(moved, states), tf.GradientTape() as tape:
            tape.watch(moved)
            perturbed_loss, *_ = self._forward(*batch)
        gradients = tape.gradient(perturbed_loss, moved)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        # Each replica's loss is divided by their number, so that the gradients add up.
        loss = loss * tf.distribute.get_strategy().num_replicas_in_sync
        return self._log(loss, x, y, y_pred, sample_weight)


def _sum_over_replicas(gradients):
    import tensorflow as tf

    present = [ops.convert_to_tensor(each) for each in gradients if each is not None]
    summed = iter(tf.distribute.get_replica_context().all_reduce("sum", present))
    return [None if each is None else next(summed) for each in gradients]


class _OnTorch(_OnVariables):
    def train_step(self, data):
        """Train on a batch."""
        import torch

        batch = keras.utils.unpack_x_y_sample_weight(data)
        x, y, sample_weight = batch
        states = self._states()
        scaled_loss, loss, y_pred = self._forward(*batch)
        weights = [variable.value for variable in self.trainable_variables]
        gradients = torch.autograd.grad(scaled_loss, weights, allow_unused=True)
        moved = self._moved(gradients)
        with self._replacing(moved, states):
            perturbed_loss, *_ = self._forward(*batch)
        gradients = torch.autograd.grad(perturbed_loss, moved, allow_unused=True)
        with torch.no_grad():
            self.optimizer.apply(gradients, self.trainable_variables)
        return self._log(loss, x, y, y_pred, sample_weight)


SharpnessAware = {"jax": _OnJax, "tensorflow": _OnTensorFlow, "torch": _OnTorch}[
    keras.backend.backend()
]
"""Mixin, placed before a `keras.Model` class, that trains it with SAM or ASAM.

Any optimizer makes its step at the weights with the gradient at the perturbed weights; clipping,
weight decay and averages are as it makes them. Both passes draw the same masks and augmentations.
The loss, the metrics and the states, such as moving averages, are of the first pass, at the
weights. With several devices the perturbation is that of the gradient over the whole batch.

In ASAM the size of a weight is |w| + 0.01, but 1 for biases (variables named "bias" or "beta"), as
in its authors' code (github.com/SamsungLabs/ASAM).

Args:
    *args, **kwargs: Of the model.
    rho: Length of the perturbation.
    adaptive: Whether to scale the perturbation by the size of each weight (ASAM).
"""
