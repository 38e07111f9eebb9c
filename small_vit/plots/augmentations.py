"""A picture of the augmentations of an image, several draws of each.

All images are outputs of the layers themselves.
"""

import numpy as np
from keras import ops
from matplotlib.figure import Figure

from small_vit.augment import AutoAugment, PaddedRandomCrop, RandomAffine, RandomErasing
from small_vit.augment.mix import draw_kept, mix_images
from small_vit.config import AugmentConfig
from small_vit.errors import InputError
from small_vit.layers.counter_random import make_key
from small_vit.plots.patches import assemble, unit_image


def plot_augmentations(image, partner, augment=None, draws=12, seed=0):
    """Draw an image and, in a row for each augmentation, its augmented versions.

    Crop, AutoAugment, erasing and mixing have the settings of the recipe `paper`. Erasing and
    mixing are drawn with probability 1; the labels of their rows show the recipe's.

    Args:
        image: uint8 `(height, width, 1 or 3)`.
        partner: Another image of the same shape, for mixing.
        augment: Ranges of the affine row. Default: `AugmentConfig`'s.
        draws: Number of draws in a row.
        seed: Seed of the draws.

    Returns:
        The figure. Below its last row are the shares of the label that stay with `image`.

    Raises:
        InputError: if the images are not such arrays.
    """
    if image.dtype != np.uint8 or partner.dtype != np.uint8 or image.shape != partner.shape:
        raise InputError(
            "Images to augment are uint8 and of one shape. "
            f"Received: {image.dtype} {image.shape} and {partner.dtype} {partner.shape}."
        )
    first = unit_image(image)
    rows, shares = augmented(image, partner, augment or AugmentConfig(), draws, seed)
    grid = np.stack([[first, *each] for each in rows.values()])  # (rows, columns, h, w, channels)
    height, width = image.shape[:2]
    step = [side + max(1, round(side / 16)) for side in (height, width)]
    canvas = assemble(np.broadcast_to(grid, (*grid.shape[:-1], 3)), step, background=1.0)

    inches = 11.0
    size = (inches + 1.8, inches * canvas.shape[0] / canvas.shape[1] + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.imshow(canvas, interpolation="nearest")
    axes.set_yticks(np.arange(len(rows)) * step[0] + (height - 1) / 2, rows)
    labels = ["original", *(f"{share:.0%}" for share in shares)]
    axes.set_xticks(np.arange(draws + 1) * step[1] + (width - 1) / 2, labels)
    axes.set_xlabel("last row: share of the label that stays with the image")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def augmented(image, partner, augment, draws, seed):
    """Augment an image several times with each augmentation.

    Args:
        image, partner, augment, draws, seed: As for `plot_augmentations`.

    Returns:
        For each augmentation, by name, floats in 0..1 `(draws, height, width, channels)`. And the
        shares of `image` in the last one, `(draws,)`.
    """
    batch = np.repeat(image[np.newaxis], draws, axis=0)
    affine = RandomAffine(
        augment.flip, augment.rotation, augment.zoom, augment.translation, seed=seed
    )
    layers = {
        "flip, rotate,\nzoom, shift": affine,
        "crop of the\npadded image": PaddedRandomCrop(seed=seed),
        "AutoAugment": AutoAugment(seed=seed),
        "erasing\n(1 image in 4)": RandomErasing(1.0, seed=seed),
    }
    rows = {name: _unit(layer(batch, training=True)) for name, layer in layers.items()}
    pair = ops.convert_to_tensor(np.stack([image, partner]).astype("float32"))
    drawn = [_mixed(pair, make_key(seed, step)) for step in range(draws)]
    rows["CutMix or MixUp\n(1 batch in 2)"] = np.stack([mixed for mixed, _ in drawn])
    return rows, [share for _, share in drawn]


def _mixed(pair, key):
    kept = draw_kept(key, pair.shape[1:3], probability=1.0, mixup_alpha=1.0, cutmix_alpha=1.0)
    images = mix_images(pair, ops.convert_to_tensor([1, 0]), kept)
    return _unit(images)[0], float(ops.mean(kept))


def _unit(images):
    # The shares of a mean may sum to a little more than 1.
    return np.clip(ops.convert_to_numpy(images) / 255, 0, 1)
