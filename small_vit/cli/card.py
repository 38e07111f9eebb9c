"""`small-vit card RUN`: write a model card."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from small_vit.cli.finished_run import import_keras_for
from small_vit.errors import InputError, exit_on_input_error


@dataclass(frozen=True, kw_only=True)
class CardOptions:
    """What a model card says beyond what the run knows."""

    run: tyro.conf.Positional[Path]
    """A run directory."""
    license: str = "unknown"
    """The model's licence, by its name on hubs: mit, apache-2.0, cc-by-4.0, …"""
    samples: int = 0
    """Test images of different classes to show with the card. They are then published with it."""

    def prepare(self):
        """Check the options, and import Keras on the run's backend."""
        if self.samples < 0:
            raise InputError(f"--samples must be at least 0. Received: {self.samples}.")
        import_keras_for(self.run)


@dataclass(frozen=True)
class CommandLine(CardOptions):
    """Write the model card of a finished run: README.md as hubs want it.

    It holds metadata, intended use, limits, the results of each class, how the model was trained
    and how to load it. small-vit push writes and publishes one itself.
    """

    name: Annotated[str, tyro.conf.arg(metavar="OWNER/NAME")] = "OWNER/NAME"
    """The model's name on a hub, for the lines that load it."""
    out: Path | None = None
    """The file. Default: RUN/README.md."""


def main(arguments, prog="small-vit card"):
    """Run the command line.

    Args:
        arguments: List of strings.
        prog: The command's name.

    Returns:
        Exit code: 0. Bad input exits with 2.
    """
    options = tyro.cli(CommandLine, args=arguments, prog=prog)
    with exit_on_input_error():
        options.prepare()
        from small_vit.deploy.card import write_card

        out = options.out or options.run / "README.md"
        write_card(options.run, out, options.name, options.license, options.samples)
    print(f"Written to {out}")
    return 0
