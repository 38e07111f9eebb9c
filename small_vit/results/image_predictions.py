"""A model's predictions for image files."""

import itertools

import numpy as np

from small_vit.data.image_files import read_image
from small_vit.errors import InputError
from small_vit.results.saved_model import class_probabilities


def predict_files(model, paths, kind, batch_size, on_unreadable):
    """Predict image files batch by batch, so that memory stays bounded.

    Args:
        model: From `load_model`.
        paths: Iterable of the files.
        kind: "logits" or "probabilities": what the model outputs.
        batch_size: Images at a time.
        on_unreadable: Called with the `InputError` of a file that cannot be read.

    Yields:
        `(path, probabilities)` of each file that can be read, in order. The probabilities are a
        float32 array `(classes,)`.

    Raises:
        InputError: if the model's outputs do not fit `kind`.
    """
    images = _read_images(paths, model.input_shape[1:], on_unreadable)
    while batch := list(itertools.islice(images, batch_size)):
        names, pixels = zip(*batch, strict=True)
        # The last batch is repeated up to full size: one compiled program serves all batches.
        full = np.resize(np.stack(pixels), (batch_size, *model.input_shape[1:]))
        outputs = model.predict_on_batch(full)[: len(batch)]
        yield from zip(names, class_probabilities(outputs, kind), strict=True)


def _read_images(paths, shape, on_unreadable):
    height, width, channels = shape
    for path in paths:
        try:
            yield path, read_image(path, (height, width), channels)
        except InputError as error:
            on_unreadable(error)
