"""The rows as Markdown tables, for documents and for the terminal."""

import json

from small_vit.errors import InputError
from small_vit.files import read_lines

_TITLE = (
    "**{model}, {arm}, batches of {batch_size}, {precision}, augmentation: {augmentation}**\n\n"
)
_HEADER = (
    "| contender | images / s | s / step | ratio | over | of floor | memory MB |\n"
    "|---|---:|---:|---:|---|---:|---:|\n"
)


def speed_tables(path):
    """Return the tables of a file of rows; empty text if there is no such file.

    Raises:
        InputError: if the file is damaged.
    """
    lines = read_lines(path, "speed rows")
    try:
        return speed_markdown([json.loads(line) for line in lines])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged: {error!r}.") from error


def speed_markdown(rows):
    """Render rows, a table for each session.

    The speed of a machine drifts, so contenders of different sessions are not in one table. Of
    sessions with the same workload and contenders, only the last is shown.

    Args:
        rows: List of dicts, from `measure`.

    Returns:
        Text.
    """
    sessions = {}
    for row in rows:
        sessions.setdefault((row["date"], _TITLE.format(**row)), []).append(row)
    newest = {}
    for (_, title), session in sessions.items():
        newest[title, frozenset(map(_name, session))] = session
    return "\n\n".join(title + _table(session) for (title, _), session in newest.items())


def _table(rows):
    measured = [row for row in rows if row["status"] == "measured"]
    measured.sort(key=lambda row: -row["images_per_second"])
    failures = [
        f"- {_name(row)} failed: {' '.join(row['reason'].split())}"
        for row in rows
        if row["status"] == "failed"
    ]
    source = [*dict.fromkeys(row["device"] for row in measured), f"commit {rows[0]['commit']}"]
    blocks = [
        _HEADER + "\n".join(map(_line, measured)),
        "\n".join(failures),
        f"On {'; '.join(source)}, {rows[0]['date'][:10]}: `{rows[0]['command']}`",
    ]
    return "\n\n".join(filter(None, blocks))


def _line(row):
    ratio, floor, quartiles = row["ratio"], row.get("floor_fraction"), row.get("ratio_quartiles")
    cells = [
        _name(row),
        f"{row['images_per_second']:.1f}",
        f"{row['seconds_per_step']:.4f}",
        "–" if ratio is None else f"× {ratio:.2f}",
        row["reference"] or "–",
        "–" if floor is None else f"{floor:.1%}",
        str(row["peak_memory_mb"]),
    ]
    if quartiles:
        cells[3] += f" ({quartiles[0]:.2f} to {quartiles[1]:.2f})"
    return f"| {' | '.join(cells)} |"


def _name(row):
    return f"{row['contender']}/{row['backend']}"
