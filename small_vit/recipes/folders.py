"""Recipes for a folder of images, chosen by the number of images."""

from small_vit.data.registry import count_training_images
from small_vit.recipes.small_datasets import cpu
from small_vit.sizes import as_pair

PATCHES = 8
"""Patches along each side of an image, whatever its size: the cost of a step stays the same. Each
has at least 2 pixels a side, so that half a patch is a shift."""

SMALL, LARGE = 1_000, 6_000
"""Below SMALL training images the recipe is folder-small, from LARGE on it is folder-large."""


def folder():
    """Your own images, a thousand to six thousand of them, in about ten minutes on two cores.

    Source: this project. The model is that of `cpu`, on larger patches. Of the settings, 20 epochs
    on flowers and satellite tiles were tried: without dropout and erasing, validation accuracy was
    higher, and the training accuracy showed no need of them. On clothes, the learning rate of `cpu`
    gave a lower validation loss than half of it.
    Command: `small-vit train DIR`.
    Device and time: two cores of an Intel Xeon, about 5 ms of one core per image and epoch.
    Expected: docs/data.md has the results on three folders.
    """
    return cpu().replace(
        recipe="folder",
        model={"image_size": 64, "patch_size": 8},
        augment={"rotation": 0.03, "zoom": 0.2, "translation": 0.1},
        data={"dataset": "folder"},
        train={"epochs": 40, "batch_size": 64},
    )


def folder_small():
    """As `folder`, for fewer than a thousand training images: a smaller model, more epochs.

    Source: this project.
    Command: `small-vit train DIR`.
    Device and time: as `folder`.
    Expected: docs/data.md has the results on photos of fire.
    """
    return folder().replace(
        recipe="folder-small",
        model={"num_layers": 4, "dropout": 0.1},
        train={"epochs": 80, "batch_size": 32, "learning_rate": 1e-3},
    )


def folder_large():
    """As `folder`, for six thousand training images or more: a larger model, fewer epochs.

    Source: this project.
    Command: `small-vit train DIR`.
    Device and time: as `folder`, twice as long per image and epoch; not yet run on a real folder.
    Expected: not known.
    """
    return folder().replace(
        recipe="folder-large",
        model={"projection_dim": 96, "num_layers": 6, "key_dim": 24},
        train={"epochs": 25, "batch_size": 128},
    )


def sam_nll():
    """A ViT for a few hundred photos, trained for 10 epochs with SAM and negative log-likelihood.

    Source: a model card on wildfire photos: sharpness-aware minimisation and the negative
    log-likelihood of the log-softmax, which is cross-entropy without label smoothing.
    Command: `small-vit sweep sam --recipe sam-nll --data-dir DIR --seeds 5`.

    Deviations: the card states neither the model's size nor the radius. These are those of
    `folder-small` and of the SAM paper (arXiv 2010.01412).
    """
    return folder_small().replace(
        recipe="sam-nll", train={"epochs": 10, "label_smoothing": 0.0, "sam_rho": 0.05}
    )


def for_folder(data_dir):
    """Return the recipe for a folder of images, by the number of its training images.

    Args:
        data_dir: The folder, or a table of paths and labels.

    Raises:
        InputError: if it holds no images in classes.
    """
    data = folder().data.replace(data_dir=str(data_dir))
    images = count_training_images(data)
    if images < SMALL:
        return folder_small()
    return folder() if images < LARGE else folder_large()


def on_folder(config, data_dir, image_size=None):
    """Return an experiment changed to train on a folder of images.

    Args:
        config: `ExperimentConfig`.
        data_dir: The folder, or a table of paths and labels.
        image_size: Size to which images are decoded, an int or (height, width); patches become
            larger or smaller with it. Default: that of `config`.
    """
    changes = {"data": {"dataset": "folder", "data_dir": str(data_dir)}}
    if config.data.validation_split == "last":
        changes["data"]["validation_split"] = "stratified"
    if image_size is not None:
        changes["model"] = {"image_size": image_size}
        if hasattr(config.model, "patch_size"):
            patch = tuple(max(2, side // PATCHES) for side in as_pair(image_size))
            changes["model"]["patch_size"] = patch
    return config.replace(**changes)
