"""Test images of a run as files, to show what its model can be given."""

import math

import numpy as np
from PIL import Image

from small_vit.files import make_folder, written_whole


def write_samples(dataset, folder, count):
    """Write test images to files: the first of each class.

    Args:
        dataset: `Dataset`.
        folder: Where to; it is made if it is missing.
        count: Number of images at most.

    Returns:
        List of `(path, class name)`.

    Raises:
        InputError: if the disk refuses.
    """
    make_folder(folder)
    samples = []
    for number, row in enumerate(_chosen(dataset.test.labels, count), 1):
        (image,) = dataset.test.read([row])
        path = folder / f"{number}.png"
        with written_whole(path) as partial:
            Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(partial, "PNG")
        samples.append((path, dataset.class_names[dataset.test.labels[row]]))
    return samples


def _chosen(labels, count):
    """Rows of as many classes as possible; of too many classes, some at equal distances."""
    classes = np.unique(labels)
    classes = classes[
        np.linspace(0, len(classes) - 1, min(count, len(classes))).round().astype(int)
    ]
    each = math.ceil(count / len(classes))
    return [row for of in classes for row in np.flatnonzero(labels == of)[:each]][:count]
