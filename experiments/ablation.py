"""Run a named sweep: the arms of an ablation on the same seeds; `--help` shows how."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    sys.path.append(str(ROOT))
    from run_cifar100 import start

    start("small_vit.sweeps.cli", results=ROOT / "experiments" / "results")
