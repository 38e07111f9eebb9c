"""The rows as Markdown tables for a reader."""

import json

from small_vit.errors import InputError

from .parts import PARTS

_WORKLOAD = ("model", "arm", "batch_size", "precision", "augmentation")
_HEADER = (
    "| contender | images / s | s / step | ratio | over | of floor | memory MB |\n"
    "|---|---:|---:|---:|---|---:|---:|"
)

_STARTS_HEADER = (
    "| backend | model | first time, s | quartiles | second time, s | quartiles |\n"
    "|---|---|---:|---:|---:|---:|"
)
_PARTS_HEADER = "| left out | s saved | quartiles | of the step |\n|---|---:|---:|---:|"


def read_speed_rows(path):
    """Return the rows of a file of the benchmark's, a list of dicts; empty if there is no file.

    Raises:
        InputError: if it is damaged.
    """
    if not path.exists():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error!r}.") from error


def render_speed_rows(render, *paths):
    """Return the text that `render` makes of the rows of each file.

    Raises:
        InputError: if a file is damaged.
    """
    try:
        return render(*map(read_speed_rows, paths))
    except (KeyError, TypeError) as error:
        files = " or ".join(map(str, paths))
        raise InputError(f"{files} is damaged: {error!r}.") from error


def speed_markdown(rows):
    """Render the rows of one or more workloads, a table for each session, the newest first.

    A machine's speed drifts, so those who did not take turns are not set in one order. A session
    whose contenders have all been measured again since is left out.

    Args:
        rows: List of dicts.

    Returns:
        Text.
    """
    workloads = {}
    for row in rows:
        key = tuple(row[name] for name in _WORKLOAD)
        contenders = workloads.setdefault(key, {})
        contenders[name_of(row), *session_of(row)] = row
    return "\n\n".join(_table(key, list(latest.values())) for key, latest in workloads.items())


def parts_markdown(rows):
    """Render what parts of our step cost, a table for each workload and backend, the dearest first.

    Args:
        rows: List of dicts, of `--profile`; where a part was measured again, the last counts.

    Returns:
        Text.
    """
    workloads = {}
    for row in rows:
        if row["status"] == "measured":
            where = (row["device"], row["commit"])
            key = (row["backend"], *(row[name] for name in _WORKLOAD), *where)
            workloads.setdefault(key, {})[row["without"]] = row
    return "\n\n".join(_parts_table(key, parts.values()) for key, parts in workloads.items())


def starts_markdown(rows):
    """Render how long it takes to the end of the first step.

    Args:
        rows: List of dicts, of `--starts`; where one was measured again, the last counts.

    Returns:
        Text.
    """
    latest = {}
    for row in rows:
        if row["status"] == "measured":
            key = (row["backend"], *(row[name] for name in _WORKLOAD), row["device"])
            latest[key] = row
    lines = [_STARTS_HEADER]
    for row in latest.values():
        cells = [row["backend"], _title(*(row[name] for name in _WORKLOAD))]
        for time in ("first_time", "second_time"):
            low, high = row[f"{time}_quartiles"]
            cells += [f"{row[f'{time}_seconds']:.1f}", f"{low:.1f} to {high:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    devices = sorted({f"On {row['device']}, commit {row['commit']}." for row in latest.values()})
    return "\n".join([*lines, "", *devices])


def _parts_table(key, rows):
    backend, *workload, device, commit = key
    lines = map(_part_line, sorted(rows, key=lambda row: -row["part_seconds"]))
    title = f"**{backend}: {_title(*workload)}**"
    return "\n".join([title, "", _PARTS_HEADER, *lines, "", f"On {device}, commit {commit}."])


def _part_line(row):
    low, high = row["part_seconds_quartiles"]
    cells = [
        PARTS[row["without"]].meaning,
        f"{row['part_seconds']:.3f}",
        f"{low:.3f} to {high:.3f}",
        f"{row['part_fraction']:.0%}",
    ]
    return f"| {' | '.join(cells)} |"


def _title(model, arm, batch_size, precision, augmentation):
    return f"{model}, {arm}, batches of {batch_size}, {precision}, augmentation: {augmentation}"


def _table(key, rows):
    measured = [row for row in rows if row["status"] == "measured"]
    lines = [f"**{_title(*key)}**", ""]
    sessions = {}
    for row in sorted(measured, key=lambda row: row["date"], reverse=True):
        sessions.setdefault(session_of(row), []).append(row)
    shown = set()
    for (device, commit, _), here in sessions.items():
        contenders = {name_of(row) for row in here}
        if contenders <= shown:
            continue
        shown |= contenders
        # By the rounds' ratios, where all are over one contender: they share the machine's drift.
        order = "ratio" if len({row.get("reference") for row in here}) == 1 else "images_per_second"
        here.sort(key=lambda row: -(row.get(order) or 0))
        date = max(row["date"] for row in here)[:10]
        lines += [_HEADER, *map(_line, here), "", f"On {device}, commit {commit}, {date}.", ""]
    missing = [row for row in rows if row["status"] != "measured" and name_of(row) not in shown]
    # A reason may be a whole traceback.
    lines += [
        f"- {name_of(row)}: {row['status']}: {' '.join(row['reason'].split())}" for row in missing
    ]
    return "\n".join(lines).rstrip()


def session_of(row):
    """Return what tells the session of a row from others."""
    return row.get("device"), row.get("commit"), row.get("command")


def _line(row):
    ratio = row.get("ratio")
    floor = row.get("floor_fraction")
    cells = [
        name_of(row),
        f"{row['images_per_second']:.1f}",
        f"{row['seconds_per_step']:.4f}",
        "–" if ratio is None else f"× {ratio:.2f}",
        row.get("reference") or "–",
        "–" if floor is None else f"{floor:.1%}",
        str(row.get("peak_memory_mb", "–")),
    ]
    return f"| {' | '.join(cells)} |"


def name_of(row):
    """Return the name of a row's contender and its backend."""
    return f"{row['contender']}/{row['backend']}"
