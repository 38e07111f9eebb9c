"""The table of the rows of `experiments/export_speed.py`."""

import json

from small_vit.files import read_lines

COLUMNS = (
    "| model | threads | images in a call | contender | latency, ms | images/s "
    "| × model.predict | × timm at equal work | load, ms |\n"
    "|---|---:|---:|---|---:|---:|---:|---:|---:|"
)


def export_table(path):
    """Return the Markdown of a file of rows; empty if there are none.

    Args:
        path: The file. Of rows for the same model, contender, threads and batch size, the last
            counts.
    """
    rows = {}
    for row in map(json.loads, read_lines(path, "rows")):
        key = (row["model"], row["threads"], row["batch_size"], row["contender"])
        rows[key] = row
    if not rows:
        return ""
    devices = sorted({f"{row['device']}, Keras {row['keras']}." for row in rows.values()})
    return "\n".join([COLUMNS, *map(_line, rows.values()), "", *devices])


def _line(row):
    cells = [
        row["model"],
        row["threads"],
        row["batch_size"],
        f"{row['contender']} {row['version'] or ''}".strip(),
        f"{row['latency_ms']:.2f}",
        f"{row['images_per_second']:,.0f}",
        _ratio(row.get("ratio_to_predict")),
        _ratio(row.get("ratio_to_timm")),
        f"{row['load_ms']:,.0f}",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def _ratio(ratio):
    return "" if ratio is None else f"{ratio:.2f}"
