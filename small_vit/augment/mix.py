"""MixUp and CutMix."""

import keras
import numpy as np
from keras import ops

from small_vit.augment.pixels import inside_boxes
from small_vit.layers.counter_random import next_key, random_bits, uniform

# Points of the Beta distribution's quantile function; draws are interpolated between them.
_QUANTILES = 4097


@keras.saving.register_keras_serializable(package="small_vit")
class Mix(keras.layers.Layer):
    """Mixes each image and its target with those of another in the batch, by CutMix or by MixUp.

    As in the paper's code, all draws are for the whole batch. With `probability` it is mixed, by
    CutMix or MixUp with equal chance. All its images have the same share and the same box. The
    partners are the same batch in random order, so an image may be its own partner.

    MixUp averages the two images. CutMix pastes a box of the partner. Targets are averaged by the
    share of the image that remains. The paper's code takes the mean of the losses of both targets;
    the cross-entropy with the averaged target is the same.

    Keras's `CutMix` and `MixUp` mix every batch, and each does one of the two.

    Args:
        probability: Part of the batches to mix, 0 to 1.
        mixup_alpha: MixUp's share is drawn from Beta(alpha, alpha); None leaves out MixUp.
        cutmix_alpha: The same for CutMix, before its box is cut at the border; None leaves out
            CutMix.
        seed: Seed of the draws.

    Call arguments:
        inputs: Images `(batch, height, width, channels)` and targets, one-hot or other
            probabilities, `(batch, classes)`.
        training: Whether to mix; without it both pass through.

    Returns:
        Images, of the layer's compute type, and targets, float32, of the same shapes.

    Raises:
        ValueError: if an argument is out of range.

    Source: Zhang et al., arXiv 1710.09412, section 2; Yun et al., arXiv 1905.04899, section 3.1.
    """

    def __init__(self, probability=0.5, mixup_alpha=1.0, cutmix_alpha=1.0, seed=None, **kwargs):
        # Targets stay float32 in half precision.
        super().__init__(autocast=False, **kwargs)
        if not 0 <= probability <= 1:
            raise ValueError(f"`probability` must be 0 to 1. Received: probability={probability}")
        for name, alpha in (("mixup_alpha", mixup_alpha), ("cutmix_alpha", cutmix_alpha)):
            if alpha is not None and not alpha > 0:
                raise ValueError(f"`{name}` must be above 0 or None. Received: {name}={alpha}")
        if mixup_alpha is None and cutmix_alpha is None:
            raise ValueError("`mixup_alpha` and `cutmix_alpha` must not both be None.")
        self.probability = probability
        self.mixup_alpha = mixup_alpha
        self.cutmix_alpha = cutmix_alpha
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=False):
        """Return images and targets, mixed in training."""
        images, targets = inputs
        if not training:
            return ops.cast(images, self.compute_dtype), ops.cast(targets, "float32")
        images, partners, share = self.mix_images(images)
        return images, mix_targets(targets, partners, share)

    def mix_images(self, images):
        """Mix images as in training, for targets that are mixed later.

        Args:
            images: `(batch, height, width, channels)`, of any type.

        Returns:
            The mixed images, of the layer's compute type; and the partners and the share for
            `mix_targets`.
        """
        images = ops.cast(images, self.compute_dtype)
        partners = draw_order(next_key(self.seed_generator), ops.shape(images)[0])
        kept = draw_kept(
            next_key(self.seed_generator),
            images.shape[1:3],
            self.probability,
            self.mixup_alpha,
            self.cutmix_alpha,
        )
        return mix_images(images, partners, kept), partners, ops.mean(kept)

    def compute_output_shape(self, input_shape):
        """Return the shapes of images and targets."""
        images, targets = input_shape
        return tuple(images), tuple(targets)

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "probability": self.probability,
            "mixup_alpha": self.mixup_alpha,
            "cutmix_alpha": self.cutmix_alpha,
            "seed": self.seed,
        }


def draw_order(key, batch):
    """Draw an order of the batch, int32 `(batch,)`, from a key of `counter_random`."""
    return ops.cast(ops.argsort(random_bits(key, (batch,))), "int32")


def draw_kept(key, image_size, probability, mixup_alpha, cutmix_alpha):
    """Draw the share that each pixel keeps of its own image, for the whole batch.

    Args:
        key: From `small_vit.layers.counter_random`.
        image_size: (height, width).
        probability, mixup_alpha, cutmix_alpha: As for `Mix`.

    Returns:
        float32 `(1, height, width, 1)`: 1 without mixing, a constant share with MixUp, 0 inside the
        box with CutMix.
    """
    share, down, right, chance, method = ops.unstack(uniform(key, (5,)), num=5)
    kept = ops.ones((1, *image_size, 1))
    if cutmix_alpha is not None:
        box = cutmix_box(beta_quantile(share, cutmix_alpha), down, right, image_size)
        kept = ops.where(inside_boxes(image_size, *box), 0.0, kept)
    if mixup_alpha is not None:
        by_mixup = method < (0.5 if cutmix_alpha is not None else 1.0)
        kept = ops.where(by_mixup, beta_quantile(share, mixup_alpha), kept)
    return ops.where(chance < probability, kept, 1.0)


def cutmix_box(share, down, right, image_size):
    """Return the box that leaves about `share` of an image, cut at the image's border.

    Args:
        share: Part of the image outside an uncut box, scalar.
        down, right: Position of the box's centre in the image, 0 to below 1, scalars.
        image_size: (height, width).

    Returns:
        top, bottom, left and right, whole numbers as float32 `(1,)`. Bottom and right are the first
        row and column beyond the box.
    """
    edges = []
    for center, side in zip((down, right), image_size, strict=True):
        center, half = (
            ops.floor(center * side),
            ops.floor(ops.floor(ops.sqrt(1 - share) * side) / 2),
        )
        edges += [ops.maximum(center - half, 0), ops.minimum(center + half, side)]
    return [ops.reshape(edge, (1,)) for edge in edges]


def mix_images(images, partners, kept):
    """Mix each image of a batch with its partner.

    Args:
        images: `(batch, height, width, channels)`.
        partners: int32 `(batch,)`, the index of each image's partner.
        kept: As from `draw_kept`.

    Returns:
        Like `images`.
    """
    kept = ops.cast(kept, images.dtype)
    return kept * images + (1 - kept) * ops.take(images, partners, axis=0)


def mix_targets(targets, partners, share):
    """Mix the targets of a batch like its images.

    Args:
        targets: `(batch, classes)`.
        partners: As for `mix_images`.
        share: float32 scalar, the part that an image keeps: the mean of `kept`. With CutMix this is
            the part outside the box.

    Returns:
        float32 `(batch, classes)`.
    """
    # In float32, and without a matrix product, which an accelerator may compute in half precision.
    targets = ops.cast(targets, "float32")
    return share * targets + (1 - share) * ops.take(targets, partners, axis=0)


def beta_quantile(unit, alpha):
    """Turn a uniform draw into a draw from Beta(alpha, alpha), to about four digits.

    Args:
        unit: Scalar, 0 to below 1.
        alpha: Above 0.

    Returns:
        Scalar, 0 to 1. It is interpolated in a table: unlike rejection sampling, this takes one
        draw and is the same on every backend.
    """
    # Imported here: the package itself should import without SciPy.
    from scipy.special import betaincinv

    quantiles = betaincinv(alpha, alpha, np.linspace(0, 1, _QUANTILES)).astype("float32")
    position = unit * (_QUANTILES - 1)
    below = ops.cast(ops.floor(position), "int32")
    low, high = ops.take(quantiles, below), ops.take(quantiles, below + 1)
    return low + (position - ops.cast(below, "float32")) * (high - low)
