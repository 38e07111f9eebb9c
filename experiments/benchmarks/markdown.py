"""The rows as Markdown tables for a reader."""

import json

from small_vit.errors import InputError

_WORKLOAD = ("model", "arm", "batch_size", "precision", "augmentation")
_HEADER = (
    "| contender | images / s | s / step | ratio | over | of floor | memory MB |\n"
    "|---|---:|---:|---:|---|---:|---:|"
)


def read_speed_rows(path):
    """Read a file of the benchmark's rows.

    Args:
        path: `Path`.

    Returns:
        List of dicts; empty if there is no such file.

    Raises:
        InputError: if it is damaged.
    """
    if not path.exists():
        return []
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        speed_markdown(rows)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged: {error!r}.") from error
    return rows


def speed_markdown(rows):
    """Render the rows of one or more workloads, a table each with the fastest first.

    Args:
        rows: List of dicts; where a contender was measured again on a device, the last counts.

    Returns:
        Text.
    """
    workloads = {}
    for row in rows:
        key = tuple(row[name] for name in _WORKLOAD)
        contenders = workloads.setdefault(key, {})
        contenders[row["contender"], row["backend"], row.get("device")] = row
    return "\n\n".join(_table(key, list(latest.values())) for key, latest in workloads.items())


def _table(key, rows):
    model, arm, batch_size, precision, augmentation = key
    measured = [row for row in rows if row["status"] == "measured"]
    measured.sort(key=lambda row: -row["images_per_second"])
    lines = [
        f"**{model}, {arm}, batches of {batch_size}, {precision}, augmentation: {augmentation}**",
        "",
    ]
    for device in sorted({row["device"] for row in measured}):
        here = [row for row in measured if row["device"] == device]
        lines += [_HEADER, *map(_line, here), "", f"On {device}.", ""]
    missing = [row for row in rows if row["status"] != "measured"]
    # A reason may be a whole traceback.
    lines += [
        f"- {_name(row)}: {row['status']}: {' '.join(row['reason'].split())}" for row in missing
    ]
    return "\n".join(lines).rstrip()


def _line(row):
    ratio = row.get("ratio")
    floor = row.get("floor_fraction")
    cells = [
        _name(row),
        f"{row['images_per_second']:.1f}",
        f"{row['seconds_per_step']:.4f}",
        "–" if ratio is None else f"× {ratio:.2f}",
        row.get("reference") or "–",
        "–" if floor is None else f"{floor:.1%}",
        str(row.get("peak_memory_mb", "–")),
    ]
    return f"| {' | '.join(cells)} |"


def _name(row):
    return f"{row['contender']}/{row['backend']}"
