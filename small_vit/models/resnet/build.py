"""The residual network for classification."""

import keras
from keras import ops

from small_vit.models.inputs import prepared_images
from small_vit.models.resnet.config import STAGES


def build(config, image_shape, num_classes, normalization):
    """Build the classifier of a `ResNetConfig`; the `build` of its family in the registry.

    Convolutions have no bias and start as He-normal; a BatchNorm follows each. Where a shortcut
    gets narrower images and more channels, it takes every second pixel and fills up with zeros
    (option A of the paper), or is projected at depth 18 (option B).

    Source: He et al., arXiv 1512.03385, sections 3.3 and 4.2.
    """
    images, x = prepared_images(image_shape, config.image_size, normalization)
    stages = STAGES[config.depth]
    x = _stem(x, stages[0][0], config.stem)
    shortcut = _projected if config.depth == 18 else _subsampled
    for stage, (channels, blocks) in enumerate(stages):
        for block in range(blocks):
            strides = 2 if stage and not block else 1
            x = _block(x, channels, strides, shortcut, f"block_{stage}_{block}")
    x = keras.layers.GlobalAveragePooling2D(data_format="channels_last", name="pooling")(x)
    # Logits stay float32 under mixed precision: the loss needs their range.
    logits = keras.layers.Dense(
        num_classes, kernel_initializer="he_normal", dtype="float32", name="logits"
    )(x)
    return keras.Model(images, logits, name="resnet")


def _stem(images, channels, kind):
    if kind == "small":
        return _relu(_convolution(images, channels, 3, 1, "stem"), "stem_relu")
    x = _relu(_convolution(images, channels, 7, 2, "stem"), "stem_relu")
    # After a ReLU, zeros around the image are never larger than what is in it.
    x = _padded(x, 1, "stem_pool_padding")
    return keras.layers.MaxPooling2D(3, 2, data_format="channels_last", name="stem_pool")(x)


def _block(x, channels, strides, shortcut, name):
    y = _relu(_convolution(x, channels, 3, strides, f"{name}_first"), f"{name}_first_relu")
    y = _convolution(y, channels, 3, 1, f"{name}_second")
    if strides > 1:
        x = shortcut(x, channels, name)
    return _relu(keras.layers.Add(name=f"{name}_add")([y, x]), f"{name}_relu")


def _subsampled(x, channels, name):
    x = keras.layers.MaxPooling2D(1, 2, data_format="channels_last", name=f"{name}_shortcut")(x)
    return ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, channels - x.shape[-1])))


def _projected(x, channels, name):
    return _convolution(x, channels, 1, 2, f"{name}_shortcut")


def _convolution(x, channels, size, strides, name):
    """A convolution, padded by half its kernel on every side, and its BatchNorm."""
    if strides > 1 and size > 1:
        # Here Keras's "same" would pad more at the end than at the start.
        x, padding = _padded(x, size // 2, f"{name}_padding"), "valid"
    else:
        padding = "same"
    x = keras.layers.Conv2D(
        channels,
        size,
        strides,
        padding,
        data_format="channels_last",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)


def _padded(x, pixels, name):
    return keras.layers.ZeroPadding2D(pixels, data_format="channels_last", name=name)(x)


def _relu(x, name):
    return keras.layers.ReLU(name=name)(x)
