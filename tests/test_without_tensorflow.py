"""On JAX everything works where TensorFlow is not installed, and imports stay light."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_backend

ROOT = Path(__file__).parent.parent


def run(code, *arguments, backend):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_jax_trains_saves_loads_and_predicts_without_tensorflow(tmp_path):
    code = """
import sys

class TensorFlowIsAbsent:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError("No module named 'tensorflow'", name=name)

sys.meta_path.insert(0, TensorFlowIsAbsent)
import keras
from small_vit import cli
tiny = "--recipe digits --num-layers 1 --projection-dim 8 --num-heads 1 --key-dim 8 --epochs 1"
assert cli.main([*tiny.split(), "--train-examples", "100", "--out", sys.argv[1]]) == 0
model = keras.saving.load_model(sys.argv[1] + "/model.keras")
assert model.output_shape == (None, 10)
"""
    finished = run(code, tmp_path / "run", backend="jax")
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize(
    "extra", ["matplotlib", "sklearn", "scipy.stats", "tensorboard", "PIL", "tyro", "rich.progress"]
)
def test_importing_the_package_does_not_import(extra, imported_modules):
    assert "small_vit.layers" in imported_modules
    assert extra not in imported_modules


@pytest.fixture(scope="module")
def imported_modules():
    """Modules that `import small_vit` loads beyond those of `import keras`."""
    code = (
        "import sys, keras; before = set(sys.modules); import small_vit;"
        "print(*(set(sys.modules) - before))"
    )
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    return set(run(code, backend=backend).stdout.split())
