"""Downloads published files into Keras's cache."""

from pathlib import Path

from small_vit.errors import InputError


def download(
    dataset,
    url,
    file_name,
    holds,
    cache_folder="datasets",
    sha256=None,
):
    """Download a file into Keras's cache, unless it is already there.

    Args:
        dataset: Name of the dataset, for the message.
        url: Its address.
        file_name: Name in the cache.
        holds: What `--data-dir` has to hold instead, for the message.
        cache_folder: Folder under `KERAS_HOME`.
        sha256: Digest that the file must have. Default: not checked.

    Returns:
        Path of the file.

    Raises:
        InputError: if it cannot be downloaded; the message says how to do without the network.
    """
    import keras

    try:
        path = keras.utils.get_file(
            file_name, origin=url, file_hash=sha256, cache_subdir=cache_folder
        )
    # Keras raises a plain Exception if the download fails.
    except Exception as error:
        raise InputError(
            f"{dataset} is not on this machine and could not be downloaded: {error}. Give "
            f"--data-dir {holds}, or use the embedded dataset, which needs no download: "
            "--recipe digits (--dataset digits)."
        ) from error
    return Path(path)
