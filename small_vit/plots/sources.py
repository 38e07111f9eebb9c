"""Reads the data of pictures: test images, photos, and the histories of run directories."""

from small_vit.data import load_data
from small_vit.errors import InputError
from small_vit.results.find_runs import runs_in


def first_test_image(config):
    """Return the first test image of an experiment's dataset, uint8 `(height, width, channels)`.

    Raises:
        InputError: if the dataset cannot be loaded.
    """
    return first_test_images(config, 1)[0]


def first_test_images(config, count):
    """Return the first test images of an experiment's dataset.

    Args:
        config: The experiment's config.
        count: Number of images.

    Returns:
        uint8 `(count, height, width, channels)`.

    Raises:
        InputError: if the dataset cannot be loaded.
    """
    try:
        return load_data(config.data, config.model.image_size).test.read(slice(count))
    except InputError as error:
        raise InputError(
            f"The images of the run's dataset cannot be read: {error} You can draw an image file "
            "of your own instead."
        ) from error


def sample_photo(name):
    """Return a photo that comes with scikit-learn, a `PIL.Image.Image`.

    Args:
        name: "flower.jpg" or "china.jpg".
    """
    from PIL import Image
    from sklearn.datasets import load_sample_image

    return Image.fromarray(load_sample_image(name))


def read_histories(paths):
    """Read the histories of run directories; runs that differ only in their seed are one arm.

    Args:
        paths: Run directories, and folders that hold run directories, at any depth.

    Returns:
        For each arm, vanilla first, a list of histories, one per seed, as `plot_curves` takes them.
        Runs of one arm with other differences are separate, with the differences in the name.

    Raises:
        InputError: if a directory holds no run.
    """
    runs = [(run.config(), run.history()) for run in runs_in(paths)]
    runs.sort(key=lambda run: run[0].arm != "vanilla")
    configs, histories = {}, {}
    for config, history in runs:
        config = config.replace(train={"seed": 0})  # The seed does not count.
        name = config.arm
        differences = configs.setdefault(name, config).differences(config)
        if differences:
            name += f" ({', '.join(differences)})"
        histories.setdefault(name, []).append(history)
    return histories
