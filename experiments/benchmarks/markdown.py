"""The rows as Markdown tables for a reader."""

import json

from small_vit.errors import InputError

from .parts import PARTS

_WORKLOAD = ("model", "arm", "batch_size", "precision", "augmentation")
_HEADER = (
    "| contender | images / s | s / step | ratio | over | of floor | memory MB |\n"
    "|---|---:|---:|---:|---|---:|---:|"
)
_OVERVIEW_HEADER = (
    "| model, arm, batch | backend | ours, images / s | `keras-example`, images / s | ratio "
    "| ours, of floor | ours, MB |\n|---|---|---:|---:|---:|---:|---:|"
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
    return "\n\n".join(_workload(*workload) for workload in _by_workload(rows).items())


def overview_markdown(rows):
    """Render ours beside the Keras example's formulation in float32, all models in one table.

    Args:
        rows: List of dicts. Of each workload the newest session counts that has both on TensorFlow
            and on JAX.

    Returns:
        Text.
    """
    backends = ("tensorflow", "jax")
    compared = [f"{name}/{backend}" for backend in backends for name in ("ours", "keras-example")]
    lines, sources = [_OVERVIEW_HEADER], []
    for (model, arm, batch_size, precision, _), here in _by_workload(rows).items():
        session = newest_session(here, *compared)
        if not session or precision != "float32":
            continue
        for backend in backends:
            ours, example = session[f"ours/{backend}"], session[f"keras-example/{backend}"]
            cells = [
                f"{model}, {arm}, {batch_size}",
                backend,
                *(f"{row['images_per_second']:.1f}" for row in (ours, example)),
                _ratio(ours),
                f"{ours['floor_fraction']:.0%}",
                f"{ours['peak_memory_mb']}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
            sources.append(_source(ours))
    return "\n".join([*lines, "", *dict.fromkeys(sources)])


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
    return "\n".join([*lines, "", *dict.fromkeys(map(_source, latest.values()))])


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


def newest_session(rows, *names):
    """Return the rows by contender of the newest session that has all of `names`; empty if none."""
    having = [session for session in _sessions(rows) if set(names) <= set(session)]
    return having[-1] if having else {}


def _by_workload(rows):
    workloads = {}
    for row in rows:
        workloads.setdefault(tuple(row[name] for name in _WORKLOAD), []).append(row)
    return workloads


def _sessions(rows):
    """The rows of each session by contender and backend, the oldest session first."""
    sessions = {}
    measured = [row for row in rows if row["status"] == "measured"]
    for row in sorted(measured, key=lambda row: row["date"]):
        # Older rows do not name their session.
        key = row.get("session") or (row["device"], row["commit"], row["command"])
        sessions.setdefault(key, {})[name_of(row)] = row
    return list(sessions.values())


def _workload(key, rows):
    lines = [f"**{_title(*key)}**", ""]
    shown = set()
    for session in reversed(_sessions(rows)):
        if session.keys() <= shown:
            continue
        shown |= session.keys()
        lines += _session(list(session.values()))
    missing = {name_of(row): row for row in rows if row["status"] != "measured"}
    # A reason may be a whole traceback.
    lines += [
        f"- {name}: {row['status']}: {' '.join(row['reason'].split())}"
        for name, row in missing.items()
        if name not in shown
    ]
    return "\n".join(lines).rstrip()


def _session(rows):
    # By the rounds' ratios, where all are over one contender: they share the machine's drift.
    order = "ratio" if len({row.get("reference") for row in rows}) == 1 else "images_per_second"
    rows.sort(key=lambda row: -(row.get(order) or 0))
    lines = [f"| {' | '.join(_cells(row))} |" for row in rows]
    return [_HEADER, *lines, "", *dict.fromkeys(map(_source, rows)), ""]


def _cells(row):
    floor = row.get("floor_fraction")
    return [
        name_of(row),
        f"{row['images_per_second']:.1f}",
        f"{row['seconds_per_step']:.4f}",
        _ratio(row),
        row.get("reference") or "–",
        "–" if floor is None else f"{floor:.1%}",
        str(row.get("peak_memory_mb", "–")),
    ]


def _ratio(row):
    if row.get("ratio") is None:
        return "–"
    low, high = row.get("ratio_quartiles", (None, None))
    return f"× {row['ratio']:.2f}" + (f" ({low:.2f} to {high:.2f})" if low else "")


def _source(row):
    return f"On {row['device']}, commit {row['commit']}, {row['date'][:10]}."


def name_of(row):
    """Return the name of a row's contender and its backend."""
    return f"{row['contender']}/{row['backend']}"
