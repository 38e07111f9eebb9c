"""Run a named sweep: the arms of an ablation on the same seeds; `--help` shows how.

It is `small-vit sweep`, with rows in experiments/results.
"""

import inspect
import sys

from row_files import RESULTS
from small_vit.cli.process import keep_freed_memory, run_command

if __name__ == "__main__":
    keep_freed_memory(inspect.currentframe())
    options = {"prog": "experiments/ablation.py", "results": RESULTS}
    sys.exit(run_command("small_vit.cli.sweep", sys.argv[1:], **options))
