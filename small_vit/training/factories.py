"""The optimizer, loss, metrics and engine of a run."""

import math
import re

import keras
import numpy as np

from small_vit.errors import InputError
from small_vit.training.losses import CrossEntropy, FocalLoss
from small_vit.training.optimizers import AdamW, ScheduleFreeAdamW, variable_names
from small_vit.training.schedules import WarmUpCosine


def compile_model(model, train, steps_per_epoch, num_classes, class_weights=None):
    """Give `model` the optimizer, loss and metrics that a `TrainConfig` names.

    Args:
        model: `keras.Model` from images to logits; with `layer_decay` a `TrainingModel`.
        train: `TrainConfig`.
        steps_per_epoch: Steps of one epoch.
        num_classes: Number of classes.
        class_weights: As from `class_weight_values`.

    Raises:
        InputError: if the weights are to be averaged and the model has a BatchNorm.
    """
    has_batch_norm = any(each.name == "moving_mean" for each in model.non_trainable_variables)
    if train.averages_weights and has_batch_norm:
        raise InputError(
            "ema_momentum must be 0 and optimizer not 'schedule-free' for a model with BatchNorm: "
            "its moving statistics are not those of the averaged weights. Received: "
            f"ema_momentum={train.ema_momentum}, optimizer={train.optimizer!r}."
        )
    model.compile(
        optimizer=make_optimizer(
            train,
            train.epochs * steps_per_epoch,
            layer_rates(model.classifier, train.layer_decay) if train.layer_decay < 1 else None,
        ),
        loss=make_loss(train, class_weights),
        metrics=make_metrics(num_classes),
        jit_compile=_jit_compile(train),
    )
    model.optimizer.build(model.trainable_variables)


def make_optimizer(train, steps, rates=None):
    """Return the optimizer of a `TrainConfig`.

    Args:
        train: `TrainConfig`.
        steps: Steps of the whole run.
        rates: As from `layer_rates`; for AdamW only. Default: one rate for all layers.
    """
    rate = train.learning_rate
    if train.schedule == "warmup_cosine":
        warmup_steps = round(train.warmup_fraction * steps)
        rate = WarmUpCosine(rate, steps, 0.0, warmup_steps, train.final_learning_rate)
    shared = {"weight_decay": train.weight_decay}
    if train.clip_norm:
        shared["global_clipnorm"] = train.clip_norm
    if train.ema_momentum:
        shared |= {"use_ema": True, "ema_momentum": train.ema_momentum}
    if train.optimizer == "adamw":
        return AdamW(
            rate,
            decay_rule=train.decay_rule,
            decay_exclude=train.decay_exclude,
            epsilon=train.adam_epsilon,
            layer_rates=rates,
            **shared,
        )
    optimizer = _KERAS_OPTIMIZERS[train.optimizer](rate, train, **shared)
    if train.decay_exclude:
        optimizer.exclude_from_weight_decay(var_names=variable_names(train.decay_exclude))
    return optimizer


def layer_rates(classifier, decay):
    """Return the factor of the learning rate for each layer of a classifier.

    The head and what follows the last block keep the rate. The last block gets `decay` of it, the
    block before that `decay` squared, and so on; what comes before the blocks counts as one more.
    Of a ResNet, which may have dozens of blocks, a stage counts as one block.

    Args:
        classifier: `keras.Model` from `build_classifier`; its blocks are called "block_0", …, and
            the layers of a ResNet's stages "block_0_…", ….
        decay: Factor from a block to the one before it, above 0 and at most 1.

    Returns:
        Dict of floats by the name of each layer that has weights, frozen ones included.

    Source: Bao et al., arXiv 2106.08254, and He et al., arXiv 2111.06377.
    """
    names = [layer.name for layer in classifier.layers if layer.weights]
    block_of = {name: re.match(r"block_\d+", name) for name in names}
    blocks = list(dict.fromkeys(match[0] for match in block_of.values() if match))
    factors, distance = {}, len(blocks) + 1
    for name in names:
        if block_of[name]:
            distance = len(blocks) - blocks.index(block_of[name][0])
        elif distance == 1:  # behind the last block
            distance = 0
        factors[name] = decay**distance
    return factors


_KERAS_OPTIMIZERS = {
    "sgd": lambda rate, train, **shared: keras.optimizers.SGD(
        rate, momentum=train.momentum, nesterov=train.momentum > 0, **shared
    ),
    "lion": lambda rate, train, **shared: keras.optimizers.Lion(rate, **shared),
    # Muon trains the kernels of MLPs and patches. Its own Adam trains the rest: biases, norms,
    # embeddings, temperatures, pooling, the head, and attention's kernels, which have three axes.
    "muon": lambda rate, train, **shared: keras.optimizers.Muon(
        rate,
        adam_weight_decay=train.weight_decay,
        exclude_layers=["bias", "temperature", "pooling", "head_", "logits"],
        **shared,
    ),
    "schedule-free": lambda rate, train, **shared: ScheduleFreeAdamW(rate, **shared),
}


def make_loss(train, class_weights=None):
    """Return the loss of a `TrainConfig`, of logits against one-hot or mixed targets.

    Args:
        train: `TrainConfig`.
        class_weights: As from `class_weight_values`.
    """
    if train.loss == "focal":
        return FocalLoss(
            train.focal_gamma, class_weights=class_weights, label_smoothing=train.label_smoothing
        )
    if class_weights is not None:
        return CrossEntropy(class_weights, label_smoothing=train.label_smoothing)
    return keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=train.label_smoothing
    )


def class_weight_values(class_weights, class_names, labels):
    """Return the weight of each class in the loss.

    Args:
        class_weights: As in `TrainConfig`: `("balanced",)`; some `"NAME=WEIGHT"`, where the other
            classes weigh 1; or `()`.
        class_names: Name of class 0, 1, …
        labels: Labels of the training images, whole numbers `(examples,)`.

    Returns:
        A list of floats, or None for no weights. Balanced weights are examples / (classes · images
        of the class), as scikit-learn's `compute_class_weight` has them.

    Raises:
        InputError: if a name or a weight cannot be used, or a class to be balanced has no images.
    """
    if not class_weights:
        return None
    if class_weights == ("balanced",):
        return _balanced_weights(class_names, labels)
    weights = {}
    for text in class_weights:
        name, _, number = text.rpartition("=")
        weight = _positive(number)
        if name not in class_names or name in weights or weight is None:
            raise InputError(
                "class_weights is balanced alone, none alone, or NAME=WEIGHT with a weight above "
                "0, once for each class that it names. The classes are: "
                f"{', '.join(class_names)}. Received: {text!r} in {' '.join(class_weights)!r}."
            )
        weights[name] = weight
    return [weights.get(name, 1.0) for name in class_names]


def _balanced_weights(class_names, labels):
    counts = np.bincount(labels, minlength=len(class_names))
    if not counts.all():
        missing = [name for name, count in zip(class_names, counts, strict=True) if not count]
        raise InputError(
            "class_weights=balanced needs training images of every class. "
            f"There are none of: {', '.join(missing)}."
        )
    return (len(labels) / (len(counts) * counts)).tolist()


def _positive(text):
    """The positive finite number that `text` spells, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None


def make_metrics(num_classes):
    """Return the metrics in training, of logits against one-hot targets."""
    return [
        keras.metrics.CategoricalAccuracy(name="accuracy"),
        keras.metrics.TopKCategoricalAccuracy(min(5, num_classes), name="top5_accuracy"),
    ]


def _jit_compile(train):
    """As "auto", and XLA on TensorFlow's CPU too, where it is faster except in bfloat16."""
    if keras.backend.backend() != "tensorflow":
        return "auto"
    if train.deterministic or train.precision == "bfloat16":
        return "auto"
    import tensorflow as tf

    return "auto" if tf.distribute.has_strategy() else True


def make_engine(model, batches):
    """Return the engine of the Keras backend in use. Arguments are those of `Engine`."""
    if keras.backend.backend() == "jax":
        from small_vit.training.jax_engine import JaxEngine

        return JaxEngine(model, batches)
    from small_vit.training.step_engine import StepEngine

    return StepEngine(model, batches)
