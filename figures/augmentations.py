"""Draw an image with each augmentation, twelve draws of each (augmentations.png).

Typical use:
  python figures/augmentations.py                  a photo of a flower that comes with scikit-learn
  python figures/augmentations.py cat.jpg --image-size 32 --seed 1 --out pictures
  python figures/augmentations.py runs/NAME        a run's first test image, with its flips,
                                                   rotations, zooms and shifts
"""

from pathlib import Path
from typing import Annotated

import tyro

from small_vit.config import AugmentConfig
from small_vit.errors import exit_on_input_error
from small_vit.quiet import import_keras
from small_vit.sizes import Size, as_pair


def _option(metavar):
    """An option with the default in its help text, since it depends on the source."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint="")


def main(
    source: Annotated[Path | None, tyro.conf.Positional, _option("[IMAGE_OR_RUN]")] = None,
    *,
    image_size: Annotated[Size | None, _option("SIDE | HEIGHT WIDTH")] = None,
    seed: int = 0,
    out: Annotated[Path | None, _option("FOLDER")] = None,
) -> None:
    """Draw the picture.

    Args:
        source: An image file, or the folder of a run. Default: a photo that comes with
            scikit-learn.
        image_size: Size in pixels to which the image is scaled. Default: 64, or that of a run's
            images.
        seed: Seed of the draws.
        out: Folder of the picture. Default: the run's, else the current one.
    """
    import_keras()
    from small_vit.data.image_files import fit_image, read_image, scale_image
    from small_vit.plots import plot_augmentations, save
    from small_vit.plots.sources import first_test_images, sample_photo
    from small_vit.results.run_directory import RunDirectory

    run = RunDirectory(source) if source is not None and source.is_dir() else None
    size = as_pair(image_size or 64)
    if run:
        augment = run.config().augment
        images = first_test_images(run.config(), 2)
        if image_size:
            images = [scale_image(image, size) for image in images]
    else:
        augment = AugmentConfig()
        image = read_image(source, size) if source else fit_image(sample_photo("flower.jpg"), size)
        images = [image, fit_image(sample_photo("china.jpg"), size)]
    figure = plot_augmentations(*images, augment, seed=seed)
    print(save(figure, (out or (run.path if run else Path())) / "augmentations.png"))


if __name__ == "__main__":
    with exit_on_input_error():
        tyro.cli(main, description=__doc__)
