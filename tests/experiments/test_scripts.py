"""The scripts of experiments/ and figures/ answer `--help` at once."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_backend

ROOT = Path(__file__).parents[2]
EXPERIMENTS = (
    "ablation",
    "benchmark",
    "collect",
    "compare",
    "memory",
    "report",
    "tables",
    "transfer",
)
FIGURES = ("attention", "augmentations", "curves", "patches")
SCRIPTS = [f"experiments/{name}.py" for name in EXPERIMENTS]
SCRIPTS += [f"figures/{name}.py" for name in FIGURES]
HEAVY = {"keras", "tensorflow", "jax", "torch", "scipy", "sklearn", "matplotlib"}


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_answers_without_keras(script):
    call = [sys.executable, "-X", "importtime", script, "--help"]
    asked = subprocess.run(call, cwd=ROOT, capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr
    assert "usage: " in asked.stdout
    imported = {line.rpartition("|")[2].strip() for line in asked.stderr.splitlines()}
    assert "tyro" in imported and not HEAVY & imported
