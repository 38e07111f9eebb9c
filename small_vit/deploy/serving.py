"""The model that is exported: from raw images to probabilities."""

import keras
import numpy as np
from keras import ops

from small_vit.layers import Resize
from small_vit.results.saved_model import kind_of_outputs
from small_vit.sizes import as_pair


def serving_model(model, any_size=False):
    """Return a trained model as it is exported.

    Args:
        model: From `load_model`.
        any_size: Whether it takes images of any height and width and scales them itself. It does
            not keep their proportions: crop or pad the images before.

    Returns:
        Functional float32 `keras.Model` from uint8 images `(batch, height, width, channels)` to the
        probabilities of the classes, `(batch, classes)`.

    Raises:
        InputError: if the model's outputs are neither logits nor probabilities.
    """
    kind = kind_of_outputs(model)
    height, width, channels = model.input_shape[1:]
    sides = (None, None) if any_size else (height, width)
    images = keras.Input((*sides, channels), dtype="uint8", name="images")
    x = ResizeAnySize((height, width), name="resize_any_size")(images) if any_size else images
    outputs = _in_float32(model)(x)
    if model.output_shape[-1] == 1:  # that of the second of two classes
        if kind == "logits":
            outputs = ops.sigmoid(outputs)
        probabilities = ops.concatenate([1.0 - outputs, outputs], axis=-1)
    elif kind == "logits":
        probabilities = keras.layers.Softmax(dtype="float32", name="probabilities")(outputs)
    else:
        probabilities = outputs
    return keras.Model(images, probabilities, name=model.name)


def _in_float32(model):
    """Return a copy that computes in float32: runtimes on CPUs lack the half precisions."""
    clone = keras.models.clone_model(model, clone_function=_layer_in_float32)
    for layer in model.layers:
        if layer.weights and not isinstance(layer, keras.layers.Normalization):
            clone.get_layer(layer.name).set_weights(layer.get_weights())
    return clone


def _layer_in_float32(layer):
    if isinstance(layer, keras.layers.Normalization):
        return _rescaling(layer)
    if isinstance(layer, Resize):  # LiteRT and OpenVINO cannot run its einsum of a variable batch
        return ResizeAnySize(layer.size, dtype="float32", name=layer.name)
    if not isinstance(layer, keras.layers.Layer):  # an operation, as a ResNet's Pad, has no dtype
        return layer.__class__.from_config(layer.get_config())
    return layer.__class__.from_config(layer.get_config() | {"dtype": "float32"})


def _rescaling(normalization):
    """The same as a layer whose numbers are constants: tf2onnx loses those of `Normalization`.

    It takes a row's pixels and channels as one axis: on a last axis of three channels, ONNX Runtime
    multiplies slowly.
    """
    height, width, channels = normalization.input.shape[1:]
    mean = ops.convert_to_numpy(normalization.mean).ravel()
    deviation = np.sqrt(ops.convert_to_numpy(normalization.variance).ravel())
    scale = 1 / np.maximum(deviation, keras.config.epsilon())
    row = [np.resize(each, width * channels).tolist() for each in (scale, -mean * scale)]
    layers = [
        keras.layers.Reshape((height, width * channels)),
        keras.layers.Rescaling(*row, dtype="float32"),
        keras.layers.Reshape((height, width, channels)),
    ]
    return keras.Sequential(layers, name=normalization.name)


@keras.saving.register_keras_serializable(package="small_vit")
class ResizeAnySize(keras.layers.Layer):
    """Resizes as `small_vit.Resize` does, images whose height and width are known only in the call.

    Args:
        size: Side of the resized images in pixels, or (height, width).

    Call arguments:
        images: `(batch, height, width, channels)`, of any type.

    Returns:
        `(batch, *size, channels)`, of the layer's compute type.
    """

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.size = as_pair(size, "size")

    def call(self, images):
        """Return `images`, resized."""
        _, height, width, channels = ops.shape(images)
        down = _triangle_means(height, self.size[0])
        right = _triangle_means(width, self.size[1])
        rows = ops.reshape(ops.cast(images, "float32"), (-1, height, width * channels))
        rows = ops.reshape(ops.matmul(down, rows), (-1, self.size[0], width, channels))
        resized = ops.matmul(right, rows)  # (batch, rows, columns, channels)
        return ops.cast(resized, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """Return the shape of the resized images."""
        return (input_shape[0], *self.size, input_shape[3])

    def get_config(self):
        """Return the constructor's arguments."""
        return {**super().get_config(), "size": self.size}


def _triangle_means(old, new):
    """Weights of the old pixels of a side in each new pixel, float32 `(new, old)`; rows sum to one.

    As in `small_vit.Resize`, but `old` may be a tensor. Where a side grows, the means are those of
    bilinear interpolation.
    """
    scale = ops.cast(old, "float32") / new
    centers = (ops.arange(new, dtype="float32") + 0.5) * scale
    distances = ops.abs(centers[:, None] - (ops.cast(ops.arange(old), "float32") + 0.5))
    weights = ops.maximum(1.0 - distances / ops.maximum(scale, 1.0), 0.0)
    return weights / ops.sum(weights, axis=1, keepdims=True)
