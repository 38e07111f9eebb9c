"""Compare vanilla with SPT+LSA, arms x seeds, and keep the rows; `--help` shows how.

It is `small-vit compare`, with rows in experiments/results.
"""

import inspect
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    sys.path.append(str(ROOT))
    from small_vit.cli.process import keep_freed_memory, run_command

    keep_freed_memory(inspect.currentframe())
    options = {"prog": "experiments/compare.py", "results": ROOT / "experiments" / "results"}
    sys.exit(run_command("small_vit.cli.compare", sys.argv[1:], **options))
