"""Our train step done in other ways, to see that the way it is done wins."""

import sys

import keras
import numpy as np

from small_vit import assembly, engine
from small_vit.layers import HashedDropout, MultiHeadAttentionLSA
from small_vit.tf_data import without_autotuning

from .changes import Change, replace
from .keras_example import random_layers
from .workload import AUGMENTATIONS, with_common_head


def _keras_augmentation():
    def layers(*affine, name):
        return keras.Sequential(random_layers(AUGMENTATIONS["example"]), name=name)

    replace(assembly, "RandomAffine", layers)


def _keras_dropout():
    def drop(inputs, rate, seed_generator, noise_shape=None):
        return keras.random.dropout(inputs, rate, noise_shape, seed=seed_generator)

    for layer in (HashedDropout, MultiHeadAttentionLSA):
        replace(sys.modules[layer.__module__], "hashed_dropout", drop)


def _without_xla(trained):
    trained.model.jit_compile = False


def _all_steps_in_one_call(trained):
    trained.model.steps_per_execution = len(trained.batches)


def _examples_on_the_device(trained):
    """Feed the rows of a batch, and gather its images and labels inside the compiled step."""
    import tensorflow as tf

    train_step = trained.model.train_step
    split, num_classes = trained.batches.split, trained.batches.num_classes
    images, labels = tf.constant(split.images), tf.constant(split.labels)

    def gather_and_train(rows):
        targets = tf.one_hot(tf.gather(labels, rows), num_classes)
        return train_step((tf.gather(images, rows), targets))

    def dataset_of_rows(batches):
        size = batches.batch_size
        dataset = tf.data.Dataset.from_generator(
            lambda: np.split(batches.order, range(size, len(batches.order), size)),
            output_signature=tf.TensorSpec((None,), "int64"),
        )
        counted = dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))
        return without_autotuning(counted)

    replace(trained.model, "train_step", gather_and_train)
    replace(engine, "_tensorflow_dataset", dataset_of_rows)


VARIANTS = {
    "ours": Change("the train step of `run_experiment`"),
    "ours-common-head": Change(
        "its model cut to what all libraries have",
        config=lambda config: config.replace(model=with_common_head(config.model)),
    ),
    "ours-system-malloc": Change("malloc as the system sets it"),
    "ours-keras-augmentation": Change(
        "Keras's own RandomFlip, RandomRotation and RandomZoom; on TensorFlow Keras then leaves "
        "XLA off",
        before_build=_keras_augmentation,
    ),
    "ours-keras-dropout": Change("dropout on Keras's own generator", before_build=_keras_dropout),
    "ours-without-xla": Change("TensorFlow's graph, not compiled", after_compile=_without_xla),
    "ours-steps-per-execution": Change(
        "all steps of a measurement in one call", after_compile=_all_steps_in_one_call
    ),
    "ours-resident": Change(
        "images on the device, gathered in the step", after_compile=_examples_on_the_device
    ),
    "ours-device-per-core": Change(
        "each core of the CPU a device, which takes its share of a batch"
    ),
}
"""The contenders that are ours, by name."""
