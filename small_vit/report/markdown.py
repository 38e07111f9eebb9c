"""Markdown: names that cannot change its meaning, tables, pictures."""

import re

from small_vit.plots import save
from small_vit.plots.labels import printable

_SPECIAL = re.compile(r"[\\`*\[\]<|&~$]")
# Within a word an underscore is only an underscore.
_UNDERSCORE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")


def escape(text):
    """Return a text that stands within a line of Markdown as it is.

    Args:
        text: For instance the name of a class or file.
    """
    return _UNDERSCORE.sub(r"\\_", _SPECIAL.sub(r"\\\g<0>", printable(text)))


def table(headings, rows, text_columns=1):
    """Return a Markdown table.

    Args:
        headings: Heading of each column.
        rows: Lists of cells, text; names in them are escaped.
        text_columns: Number of columns of text, at the left. The others are numbers.
    """
    rule = "|" + "---|" * text_columns + "---:|" * (len(headings) - text_columns)
    lines = [_line(headings), rule, *map(_line, rows)]
    return "\n".join(lines)


def _line(cells):
    return "".join(f"| {cell} " if cell else "| " for cell in cells) + "|"


def picture(directory, name, figure, description):
    """Write a figure into a run directory, and return the Markdown that shows it.

    Args:
        directory: `RunDirectory`.
        name: Name of the file.
        figure: Matplotlib figure.
        description: What it shows.
    """
    save(figure, directory / name)
    return f"![{description}]({name})"


def join(*parts):
    """Return parts of a text with a blank line between them; empty ones are left out."""
    return "\n\n".join(filter(None, parts))
