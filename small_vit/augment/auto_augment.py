"""AutoAugment with its policy for CIFAR-10."""

import keras
import numpy as np
from keras import ops

from small_vit.augment.image_augmentation import ImageAugmentation
from small_vit.augment.operations import OPERATIONS
from small_vit.layers.counter_random import uniform

# Table 7: each sub-policy has two operations, with their probabilities and levels 0 to 9.
POLICY = (
    (("invert", 0.1, 7), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.5, 8), ("equalize", 0.9, 2)),
    (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
    (("color", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, 5), ("equalize", 0.5, 1)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("color", 0.7, 7), ("translate_x", 0.5, 8)),
    (("equalize", 0.3, 7), ("autocontrast", 0.4, 8)),
    (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("color", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, 3)),
    (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
    (("equalize", 0.2, 8), ("equalize", 0.6, 4)),
    (("color", 0.9, 9), ("equalize", 0.6, 6)),
    (("autocontrast", 0.8, 4), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("color", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, 3)),
    (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.9, 2), ("solarize", 0.8, 3)),
    (("equalize", 0.8, 8), ("invert", 0.1, 3)),
    (("translate_y", 0.7, 9), ("autocontrast", 0.9, 1)),
)

_ENHANCEMENTS = ("brightness", "color", "contrast", "sharpness")
_NAMES = tuple(OPERATIONS)
_NONE = len(_NAMES)


@keras.saving.register_keras_serializable(package="small_vit")
class AutoAugment(ImageAugmentation):
    """Changes each image by one of the 25 sub-policies that AutoAugment found for CIFAR-10.

    A sub-policy is two operations. Each is applied with its own probability, at a fixed level, and
    in a random direction if it has two. It follows DeepVoltaire's Pillow implementation, which the
    paper of SPT and LSA uses: rotation is always counter-clockwise, shear starts from the top left
    corner, and pixels from outside the image are grey (128). Here one program handles the whole
    batch. Values equal Pillow's, except that a few differ by 1; `small_vit.augment.operations` says
    where.

    Values are first rounded to bytes, since the operations are defined on bytes.

    Args:
        seed: Seed of the draws.

    Call arguments:
        images: `(batch, height, width, 1 or 3)`, values 0 to 255 of any type.
        training: Whether to augment; without it images pass through.

    Returns:
        Images of the same shape, of the layer's compute type; in training whole numbers 0 to 255.

    Raises:
        ValueError: if images have another number of channels.

    Source: Cubuk et al., arXiv 1805.09501, table 7 (policy) and table 6 (operations).
    """

    def augment(self, images, key):
        """Return `images`, each changed by a sub-policy."""
        if images.shape[-1] not in (1, 3):
            raise ValueError(f"Images must have 1 or 3 channels. Received: shape {images.shape}")
        operations, magnitudes = draw_operations(key, ops.shape(images)[0])
        augmented = ops.round(ops.clip(ops.cast(images, "float32"), 0, 255))

        def apply(index, images):
            return apply_operations(images, operations[:, index], magnitudes[:, index])

        # A loop stores its result. Otherwise XLA would compute both operations again wherever a
        # pixel is used: by each partner, flip, shifted copy and norm after this layer.
        augmented = ops.fori_loop(0, 2, apply, augmented)
        return ops.cast(augmented, self.compute_dtype)


def draw_operations(key, batch):
    """Draw the operations on each image.

    Args:
        key: From `small_vit.layers.counter_random`.
        batch: Number of images.

    Returns:
        Operations, int32 `(batch, 2)`: the position in `OPERATIONS`, or its length for none. And
        their magnitudes, float32 `(batch, 2)`.
    """
    unit = uniform(key, (5, batch))
    drawn = ops.cast(ops.floor(unit[0] * len(POLICY)), "int32")
    operations, probabilities, magnitudes = (ops.take(each, drawn, axis=0) for each in _tables())
    applied = ops.transpose(unit[1:3]) < probabilities
    up = ops.transpose(unit[3:5]) < 0.5
    return (
        ops.where(applied, operations, _NONE),
        ops.where(up, magnitudes[..., 1], magnitudes[..., 0]),
    )


def apply_operations(images, operations, magnitudes):
    """Apply one operation to each image.

    Args:
        images: float32 `(batch, height, width, channels)`, whole numbers 0 to 255.
        operations: int32 `(batch,)`, positions in `OPERATIONS`; others leave the image unchanged.
        magnitudes: float32 `(batch,)`.

    Returns:
        Like `images`.
    """
    operations, magnitudes = (each[:, None, None, None] for each in (operations, magnitudes))
    result = images
    for number, operation in enumerate(OPERATIONS.values()):
        result = ops.where(operations == number, operation(images, magnitudes), result)
    return result


def magnitude_pair(name, level):
    """Return an operation's magnitudes in its two directions; many have only one magnitude.

    Args:
        name: One of `OPERATIONS`.
        level: 0 to 9.

    Returns:
        Two floats, in the units of the operation.
    """
    part = level / 9
    if name in _ENHANCEMENTS:
        return 1 - 0.9 * part, 1 + 0.9 * part
    if name == "shear_y":
        return -0.3 * part, 0.3 * part
    if name in ("translate_x", "translate_y"):
        return -150 / 331 * part, 150 / 331 * part
    single = {"rotate": 30 * part, "posterize": round(8 - 4 * part), "solarize": 256 * (1 - part)}
    return (single.get(name, 0.0),) * 2


def _tables():
    """Operations and probabilities, `(sub-policies, 2)`, and magnitudes, `(sub-policies, 2, 2)`."""
    operations = [[_NAMES.index(name) for name, *_ in each] for each in POLICY]
    probabilities = [[probability for _, probability, _ in each] for each in POLICY]
    magnitudes = [[magnitude_pair(name, level) for name, _, level in each] for each in POLICY]
    return (
        np.array(operations, "int32"),
        np.array(probabilities, "float32"),
        np.array(magnitudes, "float32"),
    )
