"""scikit-learn's embedded digits."""

import numpy as np

from small_vit.data.dataset import Dataset
from small_vit.data.split import Split
from small_vit.data.splits import hold_out
from small_vit.errors import InputError


def load_digits(data_dir=None):
    """Load the 1,797 handwritten digits, 8x8 pixels, that come with scikit-learn.

    The scans have 17 grey levels; level v becomes round(v * 255 / 16). The published split by
    writer is not embedded. So a fixed fifth of each class is the test set: 1,437 images are for
    training, 360 for testing. Nothing is downloaded.

    Args:
        data_dir: Must be None: there are no files.

    Returns:
        The dataset, images (8, 8, 1), classes "0" to "9".

    Raises:
        InputError: if `data_dir` is given.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """
    if data_dir is not None:
        raise InputError(
            "digits is embedded in scikit-learn and takes no --data-dir. "
            f"Received: {data_dir}. Leave it out, or choose another --dataset."
        )
    # Imported here, since scikit-learn takes seconds to import.
    from sklearn import datasets

    scans = datasets.load_digits()
    images = np.rint(scans.images * 255 / 16).astype(np.uint8)[..., np.newaxis]
    everything = Split(images, scans.target.astype(np.int32))
    train, test = hold_out(everything, fraction=0.2, how="stratified", seed=0)
    return Dataset("digits", train, test, tuple(str(name) for name in scans.target_names))
