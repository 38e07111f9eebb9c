"""The measurements of one workload, and a row for each contender."""

import statistics
from contextlib import ExitStack
from dataclasses import asdict

from .contenders import Contender
from .floor import step_bytes, step_flops
from .session import describe_session
from .turns import Worker, take_turns


def measure(workload, contenders, pythons, rounds, reference=None):
    """Time contenders and the machine's peak rates, in turns.

    Args:
        workload: `Workload`.
        contenders: List of `Contender`s that support it.
        pythons: Dict from a backend to its interpreter.
        rounds: Measurements of each.
        reference: `Contender` to compare with. Default: each backend's `keras-example`.

    Returns:
        List of rows, dicts ready for JSON, one for each contender.
    """
    session = describe_session()
    backends = dict.fromkeys(each.backend for each in contenders)
    peaks = [Contender("peaks", backend) for backend in backends]
    with ExitStack() as stack:
        workers = {
            each: stack.enter_context(Worker(each.backend, pythons[each.backend]))
            for each in [*peaks, *contenders]
        }
        results = take_turns(workers, workload, rounds)
    return [_row(each, workload, reference, *results) | session for each in contenders]


def _row(contender, workload, reference, facts, measured, failures):
    row = {"contender": contender.name, "backend": contender.backend, **asdict(workload)}
    if contender in failures:
        return row | {"status": "failed", "reason": failures[contender]}
    own = measured[contender]
    baseline = reference or Contender("keras-example", contender.backend)
    peaks = [figures for each in measured if each.name == "peaks" for figures in measured[each]]
    row |= {"status": "measured", "rounds": len(own), **facts[contender]}
    row |= _speed(workload, own) | _ratio(str(baseline), own, measured.get(baseline))
    if contender.convolutional:  # Its floor is not known: `step_flops` is for patches of the image.
        return row
    return row | _floor(contender.model(workload), row, peaks)


def _speed(workload, measured):
    images = workload.batch_size * workload.steps
    low, median, high = _quartiles([images / figures["seconds"] for figures in measured])
    seconds = statistics.median(figures["seconds"] for figures in measured)
    return {
        "images_per_second": median,
        "images_per_second_quartiles": [low, high],
        "seconds_per_step": _round(seconds / workload.steps),
        "peak_memory_mb": measured[-1]["peak_memory_mb"],
    }


def _ratio(reference, measured, measured_reference):
    """Speed relative to the reference; None if the reference was not measured."""
    if measured_reference is None:
        return {"reference": None, "ratio": None, "ratio_quartiles": None}
    pairs = zip(measured, measured_reference, strict=True)
    low, median, high = _quartiles([other["seconds"] / own["seconds"] for own, other in pairs])
    return {"reference": reference, "ratio": median, "ratio_quartiles": [low, high]}


def _floor(model, row, peaks):
    """The minimum time of a step, at the best peak rates of all backends."""
    if not peaks:
        return {}
    flops = step_flops(model, row["batch_size"])
    moved = step_bytes(row["parameters"], row["batch_size"])
    matmul, copy = (max(figures[name] for figures in peaks) for name in ("matmul", "copy"))
    seconds = max(flops / matmul, moved / copy)
    return {
        "step_gflop": _round(flops / 1e9),
        "step_megabytes": _round(moved / 1e6),
        "matmul_gflop_per_second": _round(matmul / 1e9),
        "copy_gigabytes_per_second": _round(copy / 1e9),
        "floor_seconds": _round(seconds),
        "floor_fraction": _round(seconds / row["seconds_per_step"]),
    }


def _quartiles(values):
    """Lower quartile, median and upper quartile; for a single value, that value three times."""
    values = values * 2 if len(values) == 1 else values
    return map(_round, statistics.quantiles(values, n=4, method="inclusive"))


def _round(number):
    """Round to four digits: no measurement here is more precise."""
    return float(f"{number:.4g}")
