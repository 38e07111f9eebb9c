"""What is written of a measurement: one JSON object a contender and workload."""

import statistics
from dataclasses import asdict
from datetime import datetime

from small_vit.runs import describe_environment

from .floor import floor_seconds, step_bytes, step_flops
from .referee import WorkerAbsent, quartiles, ratios


def missing_row(contender, workload, error):
    """Return the row of a contender that could not be measured, which says why."""
    status = "absent" if isinstance(error, WorkerAbsent) else "failed"
    return {**_subject(contender, workload, status), "reason": str(error)}


def speed_row(session, contender, workload, facts, measured, reference, peaks):
    """Return the row of a contender.

    Args:
        session: What tells the contenders that took turns from others, a string.
        contender, workload: What was measured.
        facts: Of its `Worker`.
        measured: From `take_turns`.
        reference: Label and measurements of the contender that the ratio is over, or None.
        peaks: Measurements of the machine's peaks, on all frameworks; may be empty.
    """
    seconds = [figures["seconds"] for figures in measured]
    step = statistics.median(seconds) / workload.steps
    images = workload.batch_size * workload.steps
    slow, median, fast = quartiles([images / s for s in seconds])
    row = {
        **_subject(contender, workload, "measured"),
        "images_per_second": _round(median),
        "images_per_second_quartiles": [_round(slow), _round(fast)],
        "seconds_per_step": _round(step),
        **_first_step(facts, step, workload),
        "reference": None,
        "ratio": None,
        "ratio_quartiles": None,
        "peak_memory_mb": measured[-1]["peak_memory_mb"],
        "parameters": facts["parameters"],
    }
    if reference is not None:
        label, theirs = reference
        low, ratio, high = quartiles(ratios(seconds, [figures["seconds"] for figures in theirs]))
        row |= {"reference": label, "ratio": _round(ratio)}
        row["ratio_quartiles"] = [_round(low), _round(high)]
    if peaks:
        row |= _floor(contender.model(workload), workload, facts["parameters"], step, peaks)
    return row | {"session": session} | _circumstances(facts, measured)


def part_row(contender, workload, facts, without, whole):
    """Return the row of a part of our step: what the step gains when it is left out.

    Args:
        contender: The one that lacks the part.
        workload: What was measured.
        facts: Of its `Worker`.
        without, whole: Measurements, from the same `take_turns`, without the part and with it.
    """
    pairs = [(a["seconds"], b["seconds"]) for a, b in zip(without, whole, strict=True)]
    step = statistics.median(b for _, b in pairs) / workload.steps
    costs = [(b - a) / workload.steps for a, b in pairs]
    low, cost, high = quartiles(costs)
    return {
        **_subject(contender, workload, "measured"),
        "seconds_per_step": _round(step),
        "part_seconds": _round(cost),
        "part_seconds_quartiles": [_round(low), _round(high)],
        "part_fraction": _round(cost / step),
        **_circumstances(facts, without),
    }


def start_row(contender, workload, first, second):
    """Return the row of how long it takes to the end of the first step.

    Args:
        contender, workload: What was measured.
        first, second: Facts of `Worker`s, one a round: with nothing compiled before, and after
            the first.
    """
    times = {"first_time": first, "second_time": second}
    row = _subject(contender, workload, "measured")
    for name, starts in times.items():
        seconds = [facts["start_seconds"] + facts["first_seconds"] for facts in starts]
        low, median, high = quartiles(seconds)
        row[f"{name}_seconds"] = _round(median)
        row[f"{name}_quartiles"] = [_round(low), _round(high)]
    return row | _circumstances(first[0], first)


def _subject(contender, workload, status):
    return {
        "contender": contender.name,
        "backend": contender.backend,
        **({"without": contender.without} if contender.without else {}),
        "head": contender.head(workload),
        **asdict(workload),
        "status": status,
    }


def _first_step(facts, step, workload):
    # The first measurement has all steps in it, of which only the first compiles.
    first = facts["first_seconds"] - (workload.steps - 1) * step
    return {
        "start_seconds": _round(facts["start_seconds"]),
        "first_step_seconds": _round(max(first, step)),
    }


def _floor(model, workload, parameters, step, peaks):
    flops = step_flops(model, workload.batch_size)
    moved = step_bytes(parameters, workload.batch_size)
    # The best the machine was seen to do, of all rounds.
    matmul = max(figures["matmul"] for figures in peaks)
    copy = max(figures["copy"] for figures in peaks)
    floor = floor_seconds(flops, moved, matmul, copy)
    return {
        "step_gflop": _round(flops / 1e9),
        "step_megabytes": _round(moved / 1e6),
        "matmul_gflop_per_second": _round(matmul / 1e9),
        "copy_gigabytes_per_second": _round(copy / 1e9),
        "floor_seconds": _round(floor),
        "floor_fraction": _round(floor / step),
    }


def _circumstances(facts, measured):
    here = describe_environment(facts["device"], None)
    return {
        "rounds": len(measured),
        "device": facts["device"],
        "versions": facts["versions"],
        "commit": here["commit"],
        "command": here["command"],
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def _round(number):
    """To four digits: no measurement here is sure of more."""
    return float(f"{number:.4g}")
