"""Names in pictures: printable, never read as a formula, and no wider than their place."""

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path


def printable(text):
    r"""Return a text with everything that cannot be printed as an escape: "\n", "\udcff".

    Args:
        text: For instance the name of a file, which may hold any byte.
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def fitted(text, width, size):
    """Return a text for a picture; one that is too wide has "…" in place of its middle.

    Args:
        text: For instance the name of a class.
        width: Room for it in points.
        size: Font size in points.

    Returns:
        Text that Matplotlib draws as it is.
    """
    text = printable(text)
    shown, kept = text, len(text)
    while kept > 1 and (needed := text_width(shown, size)) > width:
        kept = max(1, min(kept - 1, int(kept * width / needed)))
        shown = f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"
    return literal(shown)


def literal(text):
    """Return a text that Matplotlib draws as it is, also in a legend."""
    text = printable(text).replace("$", r"\$")  # two $ would make a formula
    return f" {text}" if text.startswith("_") else text  # a legend leaves those out


def text_width(text, size):
    """Return the width of a text in points, in Matplotlib's own font of a size in points."""
    font = FontProperties(size=size)
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]
