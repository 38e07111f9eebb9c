"""Measure the first pass over folders of images: ours, Keras's utility's and torchvision's."""

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from benchmarks.decoding import CONTENDERS
from benchmarks.turns import EXPERIMENTS
from small_vit.errors import InputError, exit_on_input_error
from small_vit.files import make_folder, write_text

ROWS = EXPERIMENTS / "results" / "speed" / "decoding.jsonl"


@dataclass(frozen=True)
class CommandLine:
    """Time the first pass over folders of class folders; the contenders take turns.

    Each measurement has its own process. Run nothing else on the machine.

    Example: python experiments/decoding.py flowers clothing/train --torch-python ENV/bin/python
    """

    folders: tyro.conf.Positional[tuple[Path, ...]]
    """Folders that hold a folder for each class."""
    side: int = 64
    """Side of the decoded squares in pixels."""
    rounds: int = 5
    """Measurements of each."""
    torch_python: Path | None = None
    """Python with torchvision. Default: torchvision is left out."""
    to: Path = ROWS
    """File of rows."""


def main(arguments=None):
    """Run the command line.

    Args:
        arguments: List of strings. Default: `sys.argv[1:]`.
    """
    options = tyro.cli(CommandLine, prog="decoding.py", args=arguments)
    pythons = dict.fromkeys(CONTENDERS, sys.executable) | {"torchvision": options.torch_python}
    pythons = {name: python for name, python in pythons.items() if python}
    with exit_on_input_error():
        if not options.folders:
            raise InputError("Name at least one folder.")
        if options.rounds < 1:
            raise InputError(f"--rounds must be at least 1. Received: {options.rounds}.")
        make_folder(options.to.parent)
        for folder in options.folders:
            rows = measure(folder, options.side, options.rounds, pythons)
            old = options.to.read_text() if options.to.exists() else ""
            write_text(options.to, old + "".join(json.dumps(row) + "\n" for row in rows))
            for row in rows:
                print(
                    f"{row['folder']}  {row['contender']:<12} {row['images']:,} images  "
                    f"{row['seconds']:.2f} s  ours is × {row['ratio']:.2f}"
                )
    print(f"Rows added to {options.to}")


def measure(folder, side, rounds, pythons):
    """Time the contenders on a folder, in turns: A B C, A B C, …

    Args:
        folder: A folder that holds a folder for each class.
        side: Side of the decoded squares in pixels.
        rounds: Measurements of each.
        pythons: Dict from a contender to its interpreter.

    Returns:
        List of rows, dicts ready for JSON, one for each contender. "ratio" is the median, over the
        rounds, of its seconds by ours: above 1, ours is faster.
    """
    from benchmarks.session import describe_session
    from small_vit.training.devices import choose_strategy

    measured = {name: [] for name in pythons}
    for _ in range(rounds):
        for name, python in pythons.items():
            measured[name].append(_one_pass(name, python, folder, side))
    session = {"device": choose_strategy("cpu").description} | describe_session()
    return [_row(name, folder, side, measured) | session for name in measured]


def _one_pass(name, python, folder, side):
    paths = [str(EXPERIMENTS), str(EXPERIMENTS.parent)]
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "PYTHONPATH": os.pathsep.join(paths)}
    command = [python, "-m", "benchmarks.decoding", name, str(folder), str(side)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"{name} failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def _row(name, folder, side, measured):
    own, ours = ([each["seconds"] for each in measured[which]] for which in (name, "ours"))
    return {
        "contender": name,
        "folder": "/".join(folder.parts[-2:]),
        "side": side,
        "images": measured[name][0]["images"],
        "rounds": len(own),
        "seconds": statistics.median(own),
        "all_seconds": own,
        "cpu_seconds": statistics.median(each["cpu_seconds"] for each in measured[name]),
        "ratio": round(statistics.median(a / b for a, b in zip(own, ours, strict=True)), 3),
        "versions": measured[name][0]["versions"],
    }


if __name__ == "__main__":
    main()
