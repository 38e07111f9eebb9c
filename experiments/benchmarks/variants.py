"""Our train step done in other ways, to see that the way it is done wins."""

import sys

import keras

from small_vit import assembly
from small_vit.layers import HashedDropout

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

    replace(sys.modules[HashedDropout.__module__], "hashed_dropout", drop)


def _without_xla(trained):
    trained.model.jit_compile = False


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
    "ours-device-per-core": Change(
        "each core of the CPU a device, which takes its share of a batch"
    ),
}
"""The contenders that are ours, by name."""
