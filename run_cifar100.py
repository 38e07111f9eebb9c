"""Train a ViT with or without SPT and LSA on CIFAR-100, as the Keras example does.

It is `small-vit train`, and `small-vit compare` with --compare; `--help` shows how.
"""

import inspect
import sys

from small_vit.cli.process import keep_freed_memory, run_command


def main(arguments):
    """Run the command line; return its exit code."""
    command = "compare" if "--compare" in arguments else "train"
    left = [argument for argument in arguments if argument != "--compare"]
    return run_command(f"small_vit.cli.{command}", left, prog="run_cifar100.py")


if __name__ == "__main__":
    keep_freed_memory(inspect.currentframe())
    sys.exit(main(sys.argv[1:]))
