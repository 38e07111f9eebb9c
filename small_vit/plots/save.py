"""Writes a figure to a file."""

from pathlib import Path

from small_vit.errors import InputError
from small_vit.files import make_folder, written_whole


def save(figure, path, dpi=150):
    """Write a figure, whole or not at all.

    Args:
        figure: The figure.
        path: File to write or replace; its suffix is the format. Missing folders are made.
        dpi: Pixels per inch.

    Returns:
        The path.

    Raises:
        InputError: if the format is not known, or the file cannot be written.
    """
    path = Path(path)
    formats = figure.canvas.get_supported_filetypes()
    if path.suffix.lstrip(".").lower() not in formats:
        raise InputError(
            f"A picture's file name ends in one of {', '.join(sorted(formats))}. Received: {path}."
        )
    make_folder(path.parent)
    with written_whole(path) as partial:
        figure.savefig(partial, dpi=dpi)
    return path
