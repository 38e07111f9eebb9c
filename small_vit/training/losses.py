"""Losses with class weights: negative log-likelihood, cross-entropy and focal loss."""

import math

import keras
from keras import ops

from small_vit.errors import InputError

REDUCTIONS = ("mean", "sum", "none")


@keras.saving.register_keras_serializable(package="small_vit")
class NegativeLogLikelihood(keras.losses.Loss):
    """Negative log-likelihood of the targets, from log-probabilities.

    The loss of an example is the sum over the classes k of w_k t_k (-log p_k), with target t and
    class weights w. Label smoothing s replaces t_k there by (1 - s) t_k + s / classes. The mean
    divides the sum over all examples by the sum of w_k t_k, without smoothing: for labels this is
    PyTorch's weighted mean. (For distributions PyTorch divides by the number of examples.) The mean
    over no target at all is 0.

    Args:
        class_weights: Weight of each class, a sequence of floats. Default: all weigh 1.
        ignore_index: Label whose examples are left out of both sums; it need not be a class. In a
            distribution the part of that class is left out. Default: none.
        label_smoothing: Part of the target spread over all classes, 0 to 1.
        reduction: `"mean"`, `"sum"` or `"none"`.
        name: Name of the loss.
        dtype: Type of the computation. Default: Keras's `floatx`, thus float32 under mixed
            precision.

    Call arguments:
        y_true: Labels, whole numbers `(batch, d1, …)`, or distributions over the classes, for
            instance one-hot or mixed, `(batch, d1, …, classes)`. A label that is neither a class
            nor ignored makes the loss nan.
        y_pred: Log-probabilities `(batch, d1, …, classes)`: classes come last, whereas PyTorch has
            them second. A Keras mask on it leaves examples out of both sums.
        sample_weight: Factor for the loss of each example. As in Keras, the mean's divisor does not
            include it.

    Returns:
        A scalar, or with reduction `"none"` the loss of each example `(batch, d1, …)`. On
        TensorFlow's `MirroredStrategy` each device takes the mean of its own examples.

    Raises:
        InputError: if an argument is out of range, or the shapes do not fit each other or the
            class weights.

    Source: `torch.nn.NLLLoss` and `torch.nn.CrossEntropyLoss`, PyTorch's documentation.
    """

    def __init__(
        self,
        class_weights=None,
        ignore_index=None,
        label_smoothing=0.0,
        reduction="mean",
        name=None,
        dtype=None,
    ):
        if reduction not in REDUCTIONS:
            raise InputError(f"reduction is one of {REDUCTIONS}. Received: {reduction!r}.")
        if not 0 <= label_smoothing <= 1:
            raise InputError(f"label_smoothing must be 0 to 1. Received: {label_smoothing!r}.")
        if class_weights is not None:
            class_weights = [float(weight) for weight in class_weights]
            if not all(math.isfinite(weight) and weight >= 0 for weight in class_weights):
                raise InputError(
                    "class_weights must be finite numbers, at least 0. "
                    f"Received: {class_weights!r}."
                )
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.class_weights = class_weights
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def __call__(self, y_true, y_pred, sample_weight=None):
        """Return the reduced loss."""
        loss = super().__call__(y_true, y_pred, sample_weight)
        if self.reduction != "mean":
            return loss
        # Keras has divided by the number of examples instead of the sum of their weights.
        targets = self._targets(y_true, y_pred)
        weights = ops.sum(self._weighted(targets), axis=-1)
        mask = getattr(y_pred, "_keras_mask", None)
        mask = ops.ones_like(weights) if mask is None else ops.cast(mask, weights.dtype)
        mean_weight = ops.divide_no_nan(ops.sum(mask * weights), ops.sum(mask))
        return ops.divide_no_nan(loss, mean_weight)

    def call(self, y_true, y_pred):
        """Return the loss of each example, `(batch, d1, …)`."""
        targets = self._targets(y_true, y_pred)
        everywhere = ops.sum(targets, axis=-1, keepdims=True) / y_pred.shape[-1]
        smooth = (1 - self.label_smoothing) * targets + self.label_smoothing * everywhere
        factors = self._weighted(smooth)
        # A class that is no target may have probability 0.
        losses = ops.where(factors == 0, 0.0, factors * self.class_losses(y_pred))
        return ops.sum(losses, axis=-1)

    def class_losses(self, y_pred):
        """Return the loss of each class if it were the target, of the shape of `y_pred`."""
        return -y_pred

    def _targets(self, y_true, y_pred):
        """Return the targets as distributions, with zeros for what is ignored."""
        self._check_shapes(tuple(y_true.shape), tuple(y_pred.shape))
        targets = ops.convert_to_tensor(y_true, dtype=self.dtype)
        labels = ops.arange(y_pred.shape[-1], dtype=self.dtype)
        if len(y_true.shape) < len(y_pred.shape):
            classes, labels = labels, ops.expand_dims(targets, axis=-1)
            targets = _one_hot(labels, classes)
        if self.ignore_index is None:
            return targets
        return ops.where(ops.equal(labels, self.ignore_index), 0.0, targets)

    def _check_shapes(self, true_shape, pred_shape):
        classes = pred_shape[-1]
        if self.class_weights is not None and len(self.class_weights) != classes:
            raise InputError(
                "class_weights needs one weight for each class. "
                f"Received: {len(self.class_weights)} weights for {classes} classes."
            )
        labels = len(true_shape) == len(pred_shape) - 1
        distributions = len(true_shape) == len(pred_shape) and true_shape[-1] == classes
        if not (labels or distributions):
            raise InputError(
                "y_true must be labels, of the shape of y_pred without its last axis, or "
                "distributions, of the shape of y_pred. "
                f"Received: y_true of shape {true_shape} and y_pred of shape {pred_shape}."
            )

    def _weighted(self, targets):
        if self.class_weights is None:
            return targets
        return targets * ops.convert_to_tensor(self.class_weights, dtype=self.dtype)

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "class_weights": self.class_weights,
            "ignore_index": self.ignore_index,
            "label_smoothing": self.label_smoothing,
            "dtype": self.dtype,
        }


@keras.saving.register_keras_serializable(package="small_vit")
class CrossEntropy(NegativeLogLikelihood):
    """Cross-entropy from logits: the negative log-likelihood of their log-softmax.

    Arguments, targets, reductions and source are those of `NegativeLogLikelihood`.
    """

    def class_losses(self, y_pred):
        """Return the loss of each class if it were the target, of the shape of `y_pred`."""
        return -ops.log_softmax(y_pred, axis=-1)


@keras.saving.register_keras_serializable(package="small_vit")
class FocalLoss(NegativeLogLikelihood):
    """Focal loss from logits: cross-entropy in which examples classified well count less.

    The loss of class k is (1 - p_k)^gamma (-log p_k), with p the softmax of the logits. The paper
    has it for two classes; this is its form for any number, with class weights in the place of
    alpha. Targets and reductions are those of `NegativeLogLikelihood`.

    Args:
        gamma: Exponent, at least 0. 0 gives `CrossEntropy`.
        **kwargs: As for `NegativeLogLikelihood`.

    Raises:
        InputError: as for `NegativeLogLikelihood`, and if `gamma` is negative.

    Source: Lin et al., arXiv 1708.02002, section 3.
    """

    def __init__(self, gamma=2.0, **kwargs):
        if not gamma >= 0:
            raise InputError(f"gamma must be at least 0. Received: {gamma!r}.")
        super().__init__(**kwargs)
        self.gamma = gamma

    def class_losses(self, y_pred):
        """Return the loss of each class if it were the target, of the shape of `y_pred`."""
        log_probabilities = ops.log_softmax(y_pred, axis=-1)
        # Above 0, since the gradient of a power below 1 is infinite there.
        missing = ops.maximum(-ops.expm1(log_probabilities), keras.config.epsilon())
        return -(missing**self.gamma) * log_probabilities

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), "gamma": self.gamma}


def _one_hot(labels, classes):
    """One-hot rows for labels `(…, 1)`, and rows of nan for those that are no class."""
    is_class = ops.equal(labels, classes)
    exists = ops.any(is_class, axis=-1, keepdims=True)
    return ops.where(exists, ops.cast(is_class, labels.dtype), math.nan)
