"""`small-vit push RUN OWNER/NAME`: publish a trained model on a hub."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from small_vit.cli.card import CardOptions
from small_vit.errors import exit_on_input_error


@dataclass(frozen=True, kw_only=True)
class CommandLine(CardOptions):
    """Publish the model of a finished run on the Hugging Face hub, with its model card.

    small_vit.load("hf://OWNER/NAME") loads it, and so does keras.saving.load_model. It needs a
    token that may write: hf auth login, or HF_TOKEN.
    """

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OWNER/NAME")]
    """Your name on the hub, and one for the model."""
    private: bool = False
    """Let only yourself see the repository, if it is new."""
    replace: bool = False
    """Replace the files of a repository that exists; older ones stay in its history."""


def main(arguments, prog="small-vit push"):
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
        from small_vit.deploy.hub import push

        address = push(
            options.run,
            options.name,
            private=options.private,
            replace=options.replace,
            license=options.license,
            samples=options.samples,
        )
    print(f'Published at {address}\nLoad it with small_vit.load("hf://{options.name}")')
    return 0
