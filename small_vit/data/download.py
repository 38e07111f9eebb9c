"""Published files by way of Keras's download cache."""

from pathlib import Path

from small_vit.errors import InputError


def download(
    dataset: str,
    url: str,
    file_name: str,
    holds: str,
    cache_folder: str = "datasets",
    sha256: str | None = None,
) -> Path:
    """Fetch a file into Keras's cache, unless it lies there already.

    Args:
        dataset: Name of the dataset, for the message.
        url: Where it is published.
        file_name: Name in the cache.
        holds: What `--data-dir` has to hold instead, for the message.
        cache_folder: Folder under `KERAS_HOME`.
        sha256: Digest the file must have. Default: unchecked.

    Returns:
        Path of the file.

    Raises:
        InputError: if it cannot be fetched; the message names every way to go on without a network.
    """
    import keras

    try:
        path = keras.utils.get_file(
            file_name, origin=url, file_hash=sha256, cache_subdir=cache_folder
        )
    # Keras raises a bare Exception when a URL cannot be fetched.
    except Exception as error:
        raise InputError(
            f"{dataset} is not on this machine and could not be downloaded: {error}. Give "
            f"--data-dir {holds}; or take the embedded dataset, which needs no download: "
            "--recipe digits (--dataset digits)."
        ) from error
    return Path(path)
