"""The examples run, in small, and the tour is a notebook that any program opens."""

import ast
import dataclasses
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from small_vit.data.digits import load_digits
from small_vit.recipes import RECIPES, folders

pytestmark = [pytest.mark.any_backend, pytest.mark.usefixtures("without_reports")]

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))


def main_of(script):
    return runpy.run_path(str(EXAMPLES / script))["main"]


@pytest.fixture
def whole_batches(monkeypatch):
    """Digits whose parts are whole batches, so that each compiles one program."""
    digits = load_digits()
    train, test = digits.train.subset(slice(640)), digits.test.subset(slice(64))
    few = dataclasses.replace(digits, train=train, test=test)
    monkeypatch.setattr("small_vit.data.registry.load_dataset", lambda name: few)


@pytest.fixture(autouse=True)
def small_models(monkeypatch):
    """The recipes that the examples start from, with one block."""
    digits = RECIPES["digits"]().replace(model={"num_layers": 1})
    small = folders.folder_small().replace(model={"num_layers": 1, "image_size": 16})
    monkeypatch.setitem(RECIPES, "digits", lambda: digits)
    monkeypatch.setattr(folders, "folder_small", lambda: small)


@pytest.fixture
def colors(tmp_path):
    """A folder of red and of blue pictures."""
    for name, channel in (("blue", 2), ("red", 0)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(20):
            pixels = np.random.default_rng(number).integers(0, 60, (16, 16, 3), dtype=np.uint8)
            pixels[..., channel] += 180
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    return tmp_path / "images"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_an_example_fits_on_a_screen_and_says_how_it_is_called(script):
    text = script.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 40
    assert f"`python {script.name}" in ast.get_docstring(ast.parse(text))


@pytest.mark.usefixtures("whole_batches")
def test_the_layers_in_a_model_of_your_own():
    assert main_of("own_layers.py")(epochs=4) > 0.2


def test_from_a_folder_to_the_class_of_a_new_image(colors, tmp_path):
    new = [colors / "blue" / "0.png", colors / "red" / "0.png"]
    classes = main_of("folder.py")(colors, new, tmp_path / "run", epochs=8, learning_rate=3e-3)
    assert classes == ["blue", "red"]


def test_fine_tuning(tmp_path):
    accuracies = main_of("fine_tune.py")(tmp_path, epochs=1)
    assert accuracies.keys() == {"scratch", "fine-tuned"}
    assert all(0 <= accuracy <= 1 for accuracy in accuracies.values())


def tour():
    return json.loads((EXAMPLES / "tour.ipynb").read_text(encoding="utf-8"))


def code_of(cell):
    """A cell's code, without the commands of the notebook."""
    return "".join(line for line in cell["source"] if not line.startswith("%"))


def test_the_tour_is_stored_without_outputs():
    notebook = tour()
    assert notebook["nbformat"] == 4
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None


def test_the_tour_begins_with_an_installation_that_works():
    first = "".join(tour()["cells"][0]["source"])
    assert "clone" in first
    assert "pip install '.[" in first and "pip install small" not in first


@pytest.mark.usefixtures("whole_batches")
def test_the_tour_runs_from_top_to_bottom():
    names, shown = {}, []
    code = [code_of(cell) for cell in tour()["cells"] if cell["cell_type"] == "code"]
    for large, small in (("EPOCHS = 20", "EPOCHS = 1"), ('"num_layers": 4', '"num_layers": 1')):
        assert large in code[-3]
        code[-3] = code[-3].replace(large, small)
    for cell in code:
        *body, last = ast.parse(cell).body
        exec(compile(ast.Module(body, []), "tour.ipynb", "exec"), names)
        shown.append(value_of(last, names))
    assert sum(isinstance(value, Figure) for value in shown) == 4
    assert names["models"].keys() == {"vanilla", "spt+lsa"}


def value_of(statement, names):
    """Run a cell's last statement, and return its value, which a notebook shows."""
    if isinstance(statement, ast.Expr):
        return eval(compile(ast.Expression(statement.value), "tour.ipynb", "eval"), names)
    return exec(compile(ast.Module([statement], []), "tour.ipynb", "exec"), names)
