"""Ablation sweeps: many runs of a recipe that differ in named settings and in their seed."""

from small_vit.sweeps.grid import Arm, Run, Sweep, plan_runs
from small_vit.sweeps.named import SWEEPS

__all__ = ["SWEEPS", "Arm", "Run", "Sweep", "plan_runs"]
