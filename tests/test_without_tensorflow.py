"""On JAX everything works where TensorFlow is not installed, and imports stay light."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tiny import tiny_classifier

pytestmark = pytest.mark.any_backend

ROOT = Path(__file__).parent.parent
BACKEND = os.environ.get("KERAS_BACKEND", "tensorflow")


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
from small_vit.cli import evaluate, predict, train
tiny = "--recipe digits --num-layers 1 --projection-dim 8 --num-heads 1 --key-dim 8 --epochs 1"
assert train.main([*tiny.split(), "--train-examples", "100", "--out", sys.argv[1]]) == 0
import keras
model = keras.saving.load_model(sys.argv[1] + "/model.keras")
assert model.output_shape == (None, 10)
assert evaluate.main([sys.argv[1]]) == 0
assert predict.main([sys.argv[1], sys.argv[1] + "/attention.png"]) == 0
assert "tensorflow" not in sys.modules
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
    return set(run(code, backend=BACKEND).stdout.split())


def test_importing_the_package_alone_does_not_import_keras():
    told = run("import sys, small_vit; print('keras' in sys.modules)", backend=BACKEND)
    assert (told.stdout.strip(), told.stderr) == ("False", "")


def test_a_public_name_is_imported_when_it_is_used():
    code = """
import small_vit
assert set(small_vit.__all__) <= set(dir(small_vit))
for name in small_vit.__all__:
    assert getattr(small_vit, name).__name__ == name
try:
    small_vit.ModelConfig
except AttributeError as error:
    print(error)
"""
    told = run(code, backend=BACKEND)
    assert told.stdout.strip() == "module 'small_vit' has no attribute 'ModelConfig'", told.stderr


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    """File of a model that has each of the package's layers that a model can hold."""
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    random = {"dropout": 0.1, "stochastic_depth": 0.1}
    tiny_classifier((6, 6, 1), 3, pooling="class_token", **random).save(path)
    return path


@pytest.mark.parametrize(
    "imports",
    [
        "import small_vit, keras",
        "import keras, small_vit",
        "import small_vit; from keras.saving import load_model; import keras",
        "import small_vit, importlib.util; importlib.util.find_spec('keras'); import keras",
        "import small_vit.layers; import keras",
        "import small_vit.augment; import keras",
        "import small_vit.training.schedules; import keras",
        "import small_vit.training.optimizers; import keras",
        "from small_vit import AdamW; import keras",
    ],
)
def test_keras_finds_the_layers_in_whatever_order_the_imports_stand(imports, saved_model):
    code = f"""
import sys
{imports}
model = keras.saving.load_model(sys.argv[1])
print(model.output_shape, *sorted(
    name.removeprefix("small_vit>") for name in keras.saving.get_custom_objects()
    if name.startswith("small_vit>")
))
"""
    told = run(code, saved_model, backend=BACKEND)
    assert told.returncode == 0, told.stderr
    registered = "AdamW", "AutoAugment", "Mix", "PatchEncoder", "TransformerBlock", "WarmUpCosine"
    assert told.stdout.startswith("(None, 3) ")
    assert set(registered) <= set(told.stdout.split())


def test_without_keras_the_package_says_what_is_missing():
    """Nothing is hidden by the package's own look at the import of Keras."""
    code = """
import sys
sys.path[:] = [path for path in sys.path if "site-packages" not in path]
import small_vit
try:
    import keras
except ModuleNotFoundError as error:
    print(error.name)
"""
    assert run(code, backend=BACKEND).stdout.strip() == "keras"
