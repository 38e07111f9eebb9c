"""Draw the attention of each head and block of a trained model on an image (attention.png). If the
model learns temperatures, draw them too: at the end (temperatures.png) and after each epoch
(temperature_history.png).

With --image the picture of attention is attention-NAME.png.

Typical use:
  python figures/attention.py runs/NAME
  python figures/attention.py runs/NAME --image cat.jpg --out pictures
"""

from pathlib import Path
from typing import Annotated

import tyro

from small_vit.errors import exit_on_input_error
from small_vit.quiet import import_keras


def main(
    run: Annotated[Path, tyro.conf.Positional],
    *,
    image: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None,
    out: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")] = None,
) -> None:
    """Draw the pictures.

    Args:
        run: Folder of a run that has ended.
        image: An image file. Default: the first test image of the run's dataset.
        out: Folder of the pictures. Default: the run's.
    """
    import_keras()
    from small_vit.data.image_files import read_image
    from small_vit.plots import (
        learns_temperature,
        plot_attention,
        plot_temperature_history,
        plot_temperatures,
        save,
    )
    from small_vit.plots.sources import first_test_image
    from small_vit.results.run_directory import RunDirectory
    from small_vit.results.saved_model import load_model

    config = RunDirectory(run).config()
    model, class_names = load_model(run)
    height, width, channels = model.input_shape[1:]
    if image:
        pixels = read_image(image, (height, width), channels, config.data.fit)
    else:
        pixels = first_test_image(config)
    folder = out or run
    name = f"attention-{image.stem}.png" if image else "attention.png"
    print(save(plot_attention(model, pixels, class_names), folder / name))
    if learns_temperature(model):
        print(save(plot_temperatures(model), folder / "temperatures.png"))
        history = plot_temperature_history(RunDirectory(run).history())
        print(save(history, folder / "temperature_history.png"))


if __name__ == "__main__":
    with exit_on_input_error():
        tyro.cli(main, description=__doc__)
