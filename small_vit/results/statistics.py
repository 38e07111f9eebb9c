"""Means over seeds with their intervals, and pairs of runs."""

from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % interval from Student's t.

    Attributes:
        mean: The mean.
        half_width: Half the interval; None for one value, which has no interval.
        deviation: Standard deviation of one seed; None for one value.
    """

    mean: float
    half_width: float | None
    deviation: float | None

    @classmethod
    def of(cls, values):
        """Estimate the mean of `values`, a sequence of floats."""
        values = np.asarray(values, dtype="float64")
        if len(values) == 1:
            return cls(float(values[0]), None, None)
        half_width = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
        return cls(float(values.mean()), float(half_width), float(values.std(ddof=1)))

    def percent(self, sign=False):
        """Return it as "53.10 ± 0.42" (percent)."""
        mean = f"{self.mean * 100:{'+' if sign else ''}.2f}"
        return mean if self.half_width is None else f"{mean} ± {self.half_width * 100:.2f}"


def pair_by_seed(baseline, results):
    """Return the pairs `(of baseline, of results)` of two lists of `Result`.

    A pair has one seed, one backend and one precision.
    """
    found = {(run.seed, run.backend, run.precision): run for run in baseline}
    pairs = ((found.get((run.seed, run.backend, run.precision)), run) for run in results)
    return [(old, new) for old, new in pairs if old is not None]
