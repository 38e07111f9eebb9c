"""What the step on a CPU was to reach, and what the newest rows say of it."""

from .markdown import newest_session

_CASE = {"model": "example", "batch_size": 64, "precision": "float32", "augmentation": "example"}
_EXAMPLES = {
    "keras-example-system-malloc/tensorflow": "as it comes",
    "keras-example/tensorflow": "with our malloc",
}
_OURS = ("ours/tensorflow", "ours/jax")
_LIBRARIES = ("timm", "transformers", "vit-pytorch")


def aims_markdown(speed, starts):
    """Render the aims for the Keras example's model on a CPU as a table.

    Args:
        speed: Rows of the benchmark, a list of dicts.
        starts: Rows of `--starts`, a list of dicts.

    Returns:
        Text.
    """
    lines = ["| aim | vanilla | SPT+LSA |", "|---|---|---|"]
    arms = [(_of_arm(speed, arm), _of_arm(starts, arm)) for arm in ("vanilla", "spt+lsa")]
    for aim, measure in _AIMS.items():
        cells = [measure(*rows) or "not yet measured" for rows in arms]
        lines.append(f"| {aim} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _of_arm(rows, arm):
    case = _CASE | {"arm": arm, "status": "measured"}
    return [
        row
        for row in rows
        if all(row[name] == value for name, value in case.items()) and "core" in row["device"]
    ]


def _over_the_example(speed, starts):
    told = []
    for example, how in _EXAMPLES.items():
        session = newest_session(speed, "ours/tensorflow", example)
        if session:
            told.append(f"{_speed(session, 'ours/tensorflow', example):.2f} × {how}")
    return ", ".join(told)


def _over_the_floor(speed, starts):
    session = newest_session(speed, *_OURS)
    ours = [session[name] for name in _OURS if session]
    return ", ".join(f"{1 / row['floor_fraction']:.1f} × ({row['backend']})" for row in ours)


def _jax_over_tensorflow(speed, starts):
    session = newest_session(speed, *_OURS)
    return session and f"{_speed(session, 'ours/tensorflow', 'ours/jax'):.2f} ×"


def _speed(session, name, over):
    """How many times as fast one is: by the rounds' ratios to one reference, else by medians."""
    row, other = session[name], session[over]
    if row["reference"] and row["reference"] == other["reference"]:
        return row["ratio"] / other["ratio"]
    return other["seconds_per_step"] / row["seconds_per_step"]


def _libraries(speed, starts):
    ours = [f"ours-common-head/{backend}" for backend in ("tensorflow", "jax")]
    session = newest_session(speed, *ours)
    libraries = [name for name in session if name.startswith(_LIBRARIES)]
    if not libraries:
        return ""
    fastest = max(libraries, key=lambda name: _speed(session, name, ours[0]))
    told = [f"{_speed(session, fastest, name):.2f} × {name}" for name in ours]
    return f"{fastest} is {' and '.join(told)}"


def _first_start(speed, starts):
    return _starts(starts, "first_time_seconds")


def _second_start(speed, starts):
    return _starts(starts, "second_time_seconds")


def _starts(rows, name):
    newest = {row["backend"]: row[name] for row in sorted(rows, key=lambda row: row["date"])}
    return ", ".join(f"{seconds:.0f} s ({backend})" for backend, seconds in newest.items())


def _memory(speed, starts):
    session = newest_session(speed, *_OURS)
    ours = [session[name] for name in _OURS if session]
    return ", ".join(f"{row['peak_memory_mb'] / 1000:.1f} GB ({row['backend']})" for row in ours)


_AIMS = {
    "2 × the speed of the example's formulation, TensorFlow": _over_the_example,
    "2.5 × the time of the matrix products alone": _over_the_floor,
    "JAX within 1.5 × of TensorFlow's time": _jax_over_tensorflow,
    "no library faster at equal arithmetic": _libraries,
    "process start to the end of the first step within 30 s": _first_start,
    "the second time within 10 s": _second_start,
    "at most 1.5 GB of memory": _memory,
}
