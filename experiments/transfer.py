"""Start from a trained model or from scratch, arms x seeds, and keep the rows; `--help` shows how.

It is `small-vit transfer`, with rows in experiments/results.
"""

import inspect
import sys

from row_files import RESULTS
from small_vit.cli.process import keep_freed_memory, run_command

if __name__ == "__main__":
    keep_freed_memory(inspect.currentframe())
    options = {"prog": "experiments/transfer.py", "results": RESULTS}
    sys.exit(run_command("small_vit.cli.transfer", sys.argv[1:], **options))
