"""A run whose model was never trained, for tests of what starts from a trained one."""

from contextlib import ExitStack
from unittest.mock import patch

import keras
import numpy as np

from small_vit.models.registry import build_classifier
from small_vit.results.run_directory import RunDirectory


def save_run(path, config, image_shape, class_names):
    """Write a run directory with a model of random weights; return the model.

    Args:
        path: The directory.
        config: `ExperimentConfig`.
        image_shape: (height, width, channels) of the raw images.
        class_names: List of str.
    """
    with undrawn():
        model = build_classifier(config.model, image_shape, len(class_names))
    randomize_all(model)
    directory = RunDirectory(path)
    directory.create(config, {}, class_names)
    about = {"class_names": class_names, "fit": "crop", "model": config.to_dict()["model"]}
    directory.save_model(model, about)
    return model


def undrawn():
    """A context in which kernels and embeddings start at one: to draw each takes long on JAX."""
    bases = (keras.initializers.VarianceScaling, keras.initializers.RandomUniform)
    ones = {"__call__": lambda self, shape, dtype=None: np.ones(shape, "float32")}
    stack = ExitStack()
    for base in (*bases, keras.initializers.RandomNormal):
        stack.enter_context(patch.multiple(base, **ones))
    return stack


def randomize_all(model, seed=0):
    """Draw all weights of a model, moving averages included, so that none is at its default."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if layer.name == "normalization":
            continue
        for variable in layer.weights:
            draw = rng.uniform(0.5, 1.5, variable.shape)
            if variable.name not in ("temperature", "moving_variance"):
                draw = rng.normal(scale=0.5, size=variable.shape)
            variable.assign(draw.astype("float32"))
    return model
