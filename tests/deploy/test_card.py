"""The model card: metadata that hubs can read, and what it says about the run."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("huggingface_hub")
from huggingface_hub import ModelCard

from small_vit.cli import card as command
from small_vit.deploy.card import write_card
from small_vit.errors import InputError
from small_vit.results.run_directory import RunDirectory

pytestmark = pytest.mark.any_backend


@pytest.fixture(scope="module")
def card(run, tmp_path_factory):
    """The card of the run, with three test images: its folder and what a hub's client reads."""
    folder = tmp_path_factory.mktemp("card") / "new"
    write_card(run, folder / "README.md", "someone/tiny", "mit", samples=3)
    return folder, ModelCard.load(folder / "README.md")


def test_metadata_is_what_hubs_read(run, card):
    data, metrics = card[1].data, RunDirectory(run).result().metrics
    assert data.library_name == "keras" and data.license == "mit"
    assert data.pipeline_tag == "image-classification" and "small-vit" in data.tags
    measured = {
        each.metric_name: (each.metric_type, each.metric_value) for each in data.eval_results
    }
    assert measured["top-1 accuracy"] == ("accuracy", round(metrics["accuracy"], 4))
    assert measured["F1, mean over classes"] == ("f1", round(metrics["f1"], 4))
    assert {kind for kind, _ in measured.values()} == set(data.metrics)
    assert {each.dataset_split for each in data.eval_results} == {"test"}
    assert data.datasets is None  # No hub has scikit-learn's digits.


def test_the_widget_shows_files_beside_the_card(card):
    folder, read = card
    assert [each["example_title"] for each in read.data.widget] == ["0", "4", "9"]
    for each in read.data.widget:
        assert np.asarray(Image.open(folder / each["src"])).shape == (8, 8)


def test_the_text_says_what_the_report_says(run, card):
    text = card[1].text
    first_lines = (run / "report.md").read_text().split("\n| |")[0].split("\n", 1)[1].strip()
    assert "test images are classified correctly" in first_lines and first_lines in text
    assert "## Intended use" in text and "classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9." in text
    with (run / "per_class.csv").open() as file:
        for row in csv.DictReader(file):
            assert f"| {row['name']} | {row['images']} | {float(row['precision']):.3f} |" in text
    assert "seed 0; 1 epochs of batches of 64" in text
    assert 'small_vit.load("hf://someone/tiny")' in text
    assert 'keras.saving.load_model("hf://someone/tiny")' in text


def test_the_command_writes_into_the_run_and_says_so(run, capsys):
    assert command.main([str(run)]) == 0
    assert capsys.readouterr().out == f"Written to {run / 'README.md'}\n"
    read = ModelCard.load(run / "README.md")
    assert read.data.license == "unknown" and read.data.get("widget") is None
    (run / "README.md").unlink()


def test_it_says_which_weights_training_started_from(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    config = json.loads((copy / "config.json").read_text())
    for start, told in ((None, "from scratch"), ("/home/me/base", "from the weights of base")):
        config["train"]["init_from"] = start
        (copy / "config.json").write_text(json.dumps(config))
        write_card(copy, tmp_path / "README.md")
        assert f"of the family vit, trained {told} with" in (tmp_path / "README.md").read_text()


def test_it_names_the_positive_class(run, tmp_path, monkeypatch):
    monkeypatch.setattr("small_vit.deploy.card.about_model", lambda path: {"positive": 7})
    write_card(run, tmp_path / "README.md")
    assert "\nThe positive class is 7.\n" in (tmp_path / "README.md").read_text()


def test_a_run_without_report_or_end_is_one_message(run, tmp_path):
    for missing in ("per_class.csv", "report.md", "result.json"):
        copy = shutil.copytree(run, tmp_path / missing)
        (copy / missing).unlink()
        message = "has not ended" if missing == "result.json" else f"no {missing}.*small-vit report"
        with pytest.raises(InputError, match=message):
            write_card(copy, tmp_path / "README.md")
    assert not (tmp_path / "README.md").exists()


def test_names_that_are_markdown_or_yaml_stay_names(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    names = ["a|b", "c: d", "#e", "- f", "'g", "<h>", "*i*", "{j}", "k", "l"]
    (copy / "classes.json").write_text(json.dumps(names))
    write_card(copy, tmp_path / "README.md", samples=0)
    assert "a\\|b, c: d, #e, - f, 'g, \\<h>, \\*i\\*" in (tmp_path / "README.md").read_text()


def test_fewer_than_no_samples_are_refused(run, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main([str(run), "--samples", "-1"])
    assert stop.value.code == 2 and "--samples must be at least 0" in capsys.readouterr().err
