"""Draw the input of Shifted Patch Tokenization: the patches of an image (patches.png), and its
shifted copies, each above its patches (shifted_views.png).

Typical use:
  python figures/patches.py                        a photo of a flower that comes with scikit-learn
  python figures/patches.py cat.jpg --patch-size 8 --shifts all --out pictures
  python figures/patches.py runs/NAME              a run's first test image, with its settings
"""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from small_vit import ViTConfig
from small_vit.errors import InputError, exit_on_input_error
from small_vit.quiet import import_keras
from small_vit.sizes import Size, as_pair


def _option(metavar, **kwargs):
    """An option with the default in its help text, since it depends on the source."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint="", **kwargs)


def main(
    source: Annotated[Path | None, tyro.conf.Positional, _option("[IMAGE_OR_RUN]")] = None,
    *,
    image_size: Annotated[Size | None, _option("SIDE | HEIGHT WIDTH")] = None,
    patch_size: Annotated[Size | None, _option("SIDE | HEIGHT WIDTH")] = None,
    stride: Annotated[Size | None, _option("STEP | DOWN RIGHT")] = None,
    shifts: Annotated[
        Literal["none", "diagonal", "cardinal", "all"] | None,
        _option("{none,diagonal,cardinal,all}"),
    ] = None,
    shift_ratio: Annotated[float | None, _option("FLOAT")] = None,
    out: Annotated[Path | None, _option("FOLDER")] = None,
) -> None:
    """Draw the pictures.

    Args:
        source: An image file, or the folder of a run. The settings of a run replace the defaults
            below. Default: a photo that comes with scikit-learn.
        image_size: Size in pixels to which the image is scaled. Default: 72.
        patch_size: Size of a patch in pixels. Default: 6.
        stride: Step from one patch to the next. Default: the patch size.
        shifts: The directions of the shifted copies. Default: diagonal.
        shift_ratio: Length of a shift in patch sizes. Default: 0.5.
        out: Folder of the pictures. Default: the run's, else the current one.
    """
    import_keras()
    from small_vit.data.image_files import fit_image, read_image, scale_image
    from small_vit.plots import plot_patches, plot_shifted_views, save
    from small_vit.plots.sources import first_test_image, sample_photo
    from small_vit.results.run_directory import RunDirectory

    run = RunDirectory(source) if source is not None and source.is_dir() else None
    if run:
        _require_patches(run.config().model)
    model = (run.config().model if run else ViTConfig()).replace(
        **_given(
            image_size=image_size,
            patch_size=patch_size,
            stride=stride,
            shifts=shifts,
            shift_ratio=shift_ratio,
        )
    )
    size = as_pair(model.image_size)
    if run:
        image = scale_image(first_test_image(run.config()), size)
    elif source:
        image = read_image(source, size)
    else:
        image = fit_image(sample_photo("flower.jpg"), size)

    out = out or (run.path if run else Path())
    patches = plot_patches(image, model.patch_size, model.stride)
    print(save(patches, out / "patches.png"))
    if model.shifts != "none":
        views = plot_shifted_views(
            image, model.patch_size, model.shifts, model.shift_ratio, model.stride
        )
        print(save(views, out / "shifted_views.png"))


def _require_patches(model):
    if model.kind != "vit" or model.conv_layers:
        raise InputError(
            "Patches of an image are those of the family vit without convolutions before them. "
            f"Received: a run of {model.kind}{' with conv_layers' * (model.kind == 'vit')}."
        )


def _given(**options):
    return {name: value for name, value in options.items() if value is not None}


if __name__ == "__main__":
    with exit_on_input_error():
        tyro.cli(main, description=__doc__)
