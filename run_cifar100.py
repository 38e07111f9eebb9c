"""Train a ViT with or without SPT and LSA on CIFAR-100, as the Keras example does.

It is `small-vit train`, and `small-vit compare` with --compare; `--help` shows how.
"""

import inspect
import sys

from small_vit.cli.process import keep_freed_memory, resumed_folder, run_command


def main(arguments):
    """Run the command line; return its exit code."""
    folder = resumed_folder(arguments)
    resumes_comparison = folder is not None and (folder / "sweep.json").exists()
    command = "compare" if "--compare" in arguments or resumes_comparison else "train"
    left = [argument for argument in arguments if argument != "--compare"]
    return run_command(f"small_vit.cli.{command}", left, prog="run_cifar100.py")


if __name__ == "__main__":
    keep_freed_memory(inspect.currentframe())
    sys.exit(main(sys.argv[1:]))
