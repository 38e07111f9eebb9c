"""The rows as tables for a terminal."""

from rich.console import Group
from rich.table import Table

from .markdown import name_of
from .parts import PARTS
from .variants import VARIANTS


def speed_table(workload, rows):
    """Return the table of one workload's rows, the fastest first."""
    table = Table(title=str(workload), title_justify="left")
    table.add_column("contender")
    table.add_column("head")
    for heading in ("images/s", "quartiles", "s/step", "ratio", "of floor", "first step s", "MB"):
        table.add_column(heading, justify="right")
    for row in sorted(rows, key=lambda row: -row.get("images_per_second", 0)):
        name = name_of(row)
        if row["status"] != "measured":
            table.add_row(name, row["head"], row["status"], style="dim")
            continue
        low, high = row["images_per_second_quartiles"]
        table.add_row(
            name,
            row["head"],
            f"{row['images_per_second']:.1f}",
            f"{low:.1f} – {high:.1f}",
            f"{row['seconds_per_step']:.4f}",
            _ratio(row),
            f"{row['floor_fraction']:.1%}" if "floor_fraction" in row else "–",
            f"{row['start_seconds']:.1f} + {row['first_step_seconds']:.1f}",
            str(row["peak_memory_mb"]),
        )
    table.caption = (
        "ratio: times as fast as the contender marked ×1, on the same backend unless another is "
        "named; of floor: of the speed at which matrix products alone, or memory alone, would run; "
        "first step: start and build + compile"
    )
    return Group(table, *_ways(rows), *_reasons(rows))


def parts_table(workload, rows):
    """Return the table of what each part of our step costs, the dearest first."""
    table = Table(title=f"{workload}: what a part costs", title_justify="left")
    for heading in ("backend", "without", "what that leaves out"):
        table.add_column(heading)
    for heading in ("s", "quartiles", "of the step"):
        table.add_column(heading, justify="right")
    for row in sorted(rows, key=lambda row: (row["backend"], -row.get("part_seconds", 0))):
        meaning = PARTS[row["without"]].meaning
        if row["status"] != "measured":
            table.add_row(row["backend"], row["without"], meaning, row["status"], style="dim")
            continue
        low, high = row["part_seconds_quartiles"]
        table.add_row(
            row["backend"],
            row["without"],
            meaning,
            f"{row['part_seconds']:.4f}",
            f"{low:.4f} – {high:.4f}",
            f"{row['part_fraction']:.0%} of {row['seconds_per_step']:.4f}",
        )
    return Group(table, *_reasons(rows))


def starts_table(workload, rows):
    """Return the table of how long it takes to the end of the first step."""
    table = Table(title=f"{workload}: to the end of the first step", title_justify="left")
    table.add_column("contender")
    for heading in ("first time s", "quartiles", "second time s", "quartiles"):
        table.add_column(heading, justify="right")
    for row in rows:
        name = name_of(row)
        if row["status"] != "measured":
            table.add_row(name, row["status"], style="dim")
            continue
        cells = []
        for time in ("first_time", "second_time"):
            low, high = row[f"{time}_quartiles"]
            cells += [f"{row[f'{time}_seconds']:.1f}", f"{low:.1f} – {high:.1f}"]
        table.add_row(name, *cells)
    return Group(table, *_reasons(rows))


def _ways(rows):
    """Say in what way each of ours trains."""
    names = {row["contender"] for row in rows}
    return [f"{name}: {change.meaning}" for name, change in VARIANTS.items() if name in names]


def _reasons(rows):
    """Say why contenders are missing, each reason once."""
    reasons = {}
    for row in rows:
        if row["status"] != "measured":
            name = f"{row.get('without', row['contender'])}/{row['backend']}"
            reasons.setdefault(f"{row['status']}: {row['reason']}", []).append(name)
    return [f"{reason} ({', '.join(names)})" for reason, names in reasons.items()]


def _ratio(row):
    if row["ratio"] is None:
        return "–"
    same_backend = row["reference"] == f"keras-example/{row['backend']}"
    return f"×{row['ratio']:.2f}" + ("" if same_backend else f" {row['reference']}")
