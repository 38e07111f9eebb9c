"""Every family from the command line: it is trained, and its folder can be used."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from small_vit.cli import predict, train
from small_vit.sizes import as_pair

pytestmark = pytest.mark.any_backend

SMALL = "--image-size 8 --num-layers 1 --projection-dim 8 --num-heads 2"


@pytest.fixture
def without_pictures(monkeypatch):
    """Reports have no pictures: to draw them takes seconds."""
    monkeypatch.setattr("small_vit.report.markdown.save", lambda *arguments: None)
    monkeypatch.setattr("small_vit.report.run_report.html_page", lambda *arguments: "")


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        ("--recipe cpu --model resnet20", (32, 32)),
        ("--recipe cpu --dataset fashion_mnist --model resnet20", (28, 28)),
        ("--recipe folder --data-dir DIR --model cct-2/3x2", 64),
        ("--recipe folder --data-dir DIR --model vit-b/16", 224),
    ],
)
def test_a_family_sees_the_images_of_a_dataset_as_they_are(arguments, size):
    _, config = train.parse_training(arguments.split())
    assert as_pair(config.model.image_size) == as_pair(size)


@pytest.mark.parametrize(
    ("name", "kind", "flags"),
    [("hybrid", "vit", SMALL), ("CCT-2/3x2", "cct", SMALL), ("resnet20", "resnet", "")],
    ids=["hybrid", "cct", "resnet"],
)
def test_a_family_is_trained_and_used(name, kind, flags, without_pictures, tmp_path):
    run, photo, table = (tmp_path / name for name in ("run", "photo.png", "table.csv"))
    command = f"--recipe digits --model {name} --epochs 1 --train-examples 50 {flags}"
    assert train.main([*command.split(), "--out", str(run)]) == 0
    config = json.loads((run / "config.json").read_text())
    assert (config["arm"], config["model"]["kind"]) == (name.lower(), kind)
    assert (run / "report.md").exists()
    metrics = json.loads((run / "result.json").read_text())["metrics"]
    assert np.isfinite(list(metrics.values())).all()

    Image.fromarray(np.full((9, 9), 200, "uint8")).save(photo)
    assert predict.main([str(run), str(photo), "--csv", str(table)]) == 0
    with table.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert sum(float(row[str(digit)]) for digit in range(10)) == pytest.approx(1)
