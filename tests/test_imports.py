"""The structure of the package: who may import whom, and what an import brings along."""

import os
import subprocess
import sys

import pytest

from import_graph import PACKAGE, floor_imports, module_imports

pytestmark = pytest.mark.any_backend


def test_floors_import_downward():
    assert list(floor_imports())[-1] in ("errors", "small_vit")  # no CycleError


def test_no_module_imports_itself_through_others():
    from graphlib import TopologicalSorter

    TopologicalSorter(module_imports()).prepare()


def test_nothing_outside_models_imports_a_family():
    families = {path.name for path in (PACKAGE / "models").iterdir() if path.is_dir()}
    families = {f"small_vit.models.{name}" for name in families - {"__pycache__"}}
    assert families == {
        f"small_vit.models.{name}" for name in ("cct", "pretrained", "resnet", "vit")
    }
    for name, imported in module_imports().items():
        if not name.startswith("small_vit.models"):
            for family in families:
                assert not {each for each in imported if each.startswith(family)}, name


WITHOUT_EXTRAS = """
import sys

EXTRAS = "loky markdown_it matplotlib PIL psutil rich scipy sklearn tyro".split()

class NotInstalled:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in EXTRAS and not any(
            "keras" in frame.f_code.co_filename for frame in callers()
        ):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

def callers():
    frame = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back

sys.meta_path.insert(0, NotInstalled)
"""


def run(code):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS + code],
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_layers_models_and_optimizers_need_keras_and_numpy_alone():
    done = run(
        "import small_vit\n"
        "for name in small_vit.__all__: getattr(small_vit, name)\n"
        "model = small_vit.create_vit_classifier(image_size=8, patch_size=4, num_layers=1)\n"
        "print(model.count_params())"
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def test_a_missing_extra_is_named_with_the_way_to_install_it():
    done = run(
        "from small_vit.cli.process import run_command\n"
        "sys.exit(run_command('small_vit.cli.train', ['--help']))"
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "needs tyro" in line and "pip install -e '.[train]'" in line
