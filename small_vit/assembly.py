"""What a config describes, as Keras objects: the classifier, its augmentation, its optimizer."""

from contextlib import contextmanager

import keras
import numpy as np

from small_vit.augment import AutoAugment, Mix, RandomAffine, RandomCrop, RandomErasing
from small_vit.augmented_classifier import AugmentedClassifier
from small_vit.model import create_vit_classifier
from small_vit.optimizers import AdamW
from small_vit.schedules import WarmUpCosine


def build_model(config, dataset):
    """Return the config's classifier for the dataset's images, normalised by their statistics."""
    mean, variance = channel_statistics(dataset.train)
    augment = config.augment
    affine = (augment.flip, augment.rotation, augment.zoom, augment.translation)
    return create_vit_classifier(
        config.model,
        input_shape=dataset.image_shape,
        num_classes=dataset.num_classes,
        normalization=keras.layers.Normalization(
            mean=mean, variance=variance, name="normalization"
        ),
        augmentation=RandomAffine(*affine, name="augmentation") if any(affine) else None,
    )


def with_augmentation(classifier, augment):
    """Return the model to train: `classifier`, behind what an `AugmentConfig` does to raw images.

    Args:
        classifier: From `build_model`.
        augment: `AugmentConfig`.

    Returns:
        An `AugmentedClassifier`, or `classifier` itself where there is nothing to do.
    """
    statistics = classifier.get_layer("normalization")
    layers, mix = raw_augmentation(augment, statistics.input_mean, statistics.input_variance)
    return AugmentedClassifier(classifier, layers, mix) if layers or mix else classifier


def raw_augmentation(augment, mean, variance):
    """Return what an `AugmentConfig` does to raw images, before they are normalised.

    Args:
        augment: `AugmentConfig`.
        mean, variance: Of each channel, in units of pixel values.

    Returns:
        `(layers, mix)`: a list of layers on images, and a `Mix` or None.
    """
    layers = []
    if augment.crop_padding:
        layers.append(RandomCrop(augment.crop_padding))
    if augment.auto_augment:
        layers.append(AutoAugment())
    if augment.erasing:
        fill = np.asarray(mean)
        if augment.erasing_fill == "raw_mean":
            # The paper's code erases normalised images and fills with the raw means, of 1.
            fill = fill + np.sqrt(variance) * fill / 255
        layers.append(RandomErasing(augment.erasing, fill=fill.tolist()))
    return layers, Mix(augment.mix) if augment.mix else None


def channel_statistics(split):
    """Return each channel's mean and variance over the images of a split, read part by part.

    Args:
        split: `Split`.

    Returns:
        Two lists of floats, in units of pixel values.
    """
    values = np.arange(256)
    counts = np.zeros((split.image_shape[-1], 256))
    # Small parts: bincount makes eight bytes of each value.
    for images in split.parts(part_bytes=4 * 2**20):
        for channel, of_channel in enumerate(counts):
            of_channel += np.bincount(images[..., channel].ravel(), minlength=256)
    shares = counts / counts.sum(axis=1, keepdims=True)
    means = [float(share @ values) for share in shares]
    variances = [
        float(share @ (values - mean) ** 2) for share, mean in zip(shares, means, strict=True)
    ]
    return means, variances


def compile_model(model, train, steps_per_epoch, num_classes):
    """Give `model` the optimizer, loss and metrics that a `TrainConfig` names."""
    rate = train.learning_rate
    if train.schedule == "warmup_cosine":
        steps = train.epochs * steps_per_epoch
        warmup_steps = round(train.warmup_fraction * steps)
        rate = WarmUpCosine(rate, steps, 0.0, warmup_steps, train.final_learning_rate)
    model.compile(
        optimizer=AdamW(
            rate,
            weight_decay=train.weight_decay,
            decay_rule=train.decay_rule,
            decay_exclude=train.decay_exclude,
            epsilon=train.adam_epsilon,
        ),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=train.label_smoothing
        ),
        metrics=[
            keras.metrics.CategoricalAccuracy(name="accuracy"),
            keras.metrics.TopKCategoricalAccuracy(min(5, num_classes), name="top5_accuracy"),
        ],
        jit_compile=_jit_compile(train),
    )
    model.optimizer.build(model.trainable_variables)


def _jit_compile(train):
    """Keras's "auto" leaves XLA off on TensorFlow's CPU, where it gains, but not in bfloat16."""
    if keras.backend.backend() != "tensorflow":
        return "auto"
    if train.deterministic or train.precision == "bfloat16":
        return "auto"
    import tensorflow as tf

    return "auto" if tf.distribute.has_strategy() else True


@contextmanager
def precision(name):
    """Build and train under the dtype policy of that precision, then put the old one back."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name if name == "float32" else f"mixed_{name}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
