"""A model's predictions for image files."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from small_vit.data.image_files import read_image
from small_vit.errors import InputError
from small_vit.results.saved_model import class_probabilities


def predict_files(model, paths, kind, fit, batch_size, on_unreadable):
    """Predict image files batch by batch, so that memory stays bounded.

    The next batch is read while one is predicted.

    Args:
        model: From `load_model`.
        paths: Iterable of the files.
        kind: "logits" or "probabilities": what the model outputs.
        fit: How an image becomes the model's size (`DataConfig.fit`).
        batch_size: Images at a time.
        on_unreadable: Called with the `InputError` of a file that cannot be read.

    Yields:
        `(path, probabilities)` of each file that can be read, in order. The probabilities are a
        float32 array `(classes,)`.

    Raises:
        InputError: if the model's outputs do not fit `kind`.
    """
    images = _read_images(paths, model.input_shape[1:], fit, batch_size, on_unreadable)
    while batch := list(itertools.islice(images, batch_size)):
        names, pixels = zip(*batch, strict=True)
        # The last batch is repeated up to full size: one compiled program serves all batches.
        full = np.resize(np.stack(pixels), (batch_size, *model.input_shape[1:]))
        outputs = model.predict_on_batch(full)[: len(batch)]
        yield from zip(names, class_probabilities(outputs, kind), strict=True)


def _read_images(paths, shape, fit, ahead, on_unreadable):
    """Yield `(path, image)` in order, reading up to two times `ahead` files before they are used.

    Pillow decodes in several threads at once.
    """
    height, width, channels = shape
    paths, waiting = iter(paths), []
    with ThreadPoolExecutor() as pool:
        try:
            while True:
                for path in itertools.islice(paths, 2 * ahead - len(waiting)):
                    read = pool.submit(read_image, path, (height, width), channels, fit)
                    waiting.append((path, read))
                if not waiting:
                    return
                for path, read in waiting[:ahead]:
                    try:
                        yield path, read.result()
                    except InputError as error:
                        on_unreadable(error)
                del waiting[:ahead]
        finally:
            pool.shutdown(cancel_futures=True)
