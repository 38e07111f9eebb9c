"""`small-vit few-shot`: a finished run on its own data and on other images."""

import csv
import json
import shutil

import keras
import numpy as np
import pytest
from made_up import made_up_result
from PIL import Image

from small_vit.cli import few_shot
from small_vit.config import DataConfig, ExperimentConfig, TrainConfig
from small_vit.data import fingerprint, load_data
from small_vit.models.registry import FAMILIES, build_classifier
from small_vit.results.run_directory import RunDirectory
from small_vit.results.saved_model import model_fingerprint
from small_vit.results.statistics import Estimate
from tiny import FEATURES, tiny_config

pytestmark = pytest.mark.any_backend

COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}
OTHERS = {"black": (0, 0, 0), "white": (255, 255, 255)}


def draw_images(root, colours, each=12):
    """Noisy images of these colours, wider than high."""
    generator = np.random.default_rng(0)
    for name, colour in colours.items():
        (root / name).mkdir(parents=True)
        for number in range(each):
            noise = generator.integers(0, 120, (12, 20, 3))
            pixels = np.clip(np.array(colour) * 0.5 + noise, 0, 255).astype("uint8")
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


def make_run(path, data, source=None, kind="vit"):
    """A run that looks finished, as if it had started from `source`; it has random weights."""
    keras.utils.set_random_seed(0)
    start = TrainConfig() if source is None else TrainConfig(init_from=str(source))
    model = tiny_config(kind, path.parent / "weights")
    config = ExperimentConfig(model=model, data=data, train=start)
    dataset = load_data(data, config.model.image_size)
    run = RunDirectory(path)
    environment = {"backend": keras.backend.backend()}
    if source is not None:
        environment["init_fingerprint"] = model_fingerprint(source)
    run.create(config, environment, dataset.class_names)
    run.write_files(dataset)
    model = build_classifier(config.model, dataset.image_shape, dataset.num_classes)
    run.save_model(model, {"class_names": dataset.class_names, "fit": data.fit})
    epochs = config.train.epochs
    run.finish(made_up_result(epochs=epochs, data_fingerprint=fingerprint(dataset)))
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("few")


@pytest.fixture(scope="module")
def colours(root):
    return draw_images(root / "colours", COLOURS)


@pytest.fixture(scope="module")
def others(root):
    return draw_images(root / "others", OTHERS, each=20)


@pytest.fixture(scope="module")
def folder_data(root, colours):
    return DataConfig(
        dataset="folder",
        data_dir=str(colours),
        validation_split="stratified",
        cache_dir=str(root / "cache"),
    )


@pytest.fixture(scope="module")
def run(root, folder_data):
    return make_run(root / "runs" / "first", folder_data)


@pytest.fixture(scope="module")
def digits_run(root):
    return make_run(root / "runs" / "digits", DataConfig(dataset="digits", validation_split="none"))


def few_shots(capsys, *arguments):
    """Run the command; return what it printed."""
    capsys.readouterr()
    assert few_shot.main([*map(str, arguments), "--batch-size", "16"]) == 0
    return capsys.readouterr().out


def refused(capsys, *arguments):
    """Run the command; return the message it ends with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        few_shot.main([*map(str, arguments)])
    assert stop.value.code == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.splitlines()[-1].startswith("error: ")
    return error


def rows_of(out):
    with (out / "few_shot.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_other_images_give_table_curve_and_the_figures_of_every_draw(
    run, others, root, tmp_path, capsys
):
    out = tmp_path / "out"
    flags = "--shots 5 1 --draws 3 --seed 2".split()
    printed = few_shots(capsys, run, others, *flags, "--out", out, "--cache-dir", root / "cache")
    assert "others: 2 classes. Images: 32 for training, 4 for validation, 4 for test." in printed
    assert "4 test images of 2 classes (50.0% by chance)" in printed
    assert "over 3 draws" in printed
    assert "trained or chosen on" not in printed
    assert printed.endswith(f"Written to {out}\n")
    assert {path.name for path in out.iterdir()} == {
        f"few_shot.{kind}" for kind in ("csv", "json", "md", "png")
    }
    rows = rows_of(out)
    assert [(row["shots"], row["draw"]) for row in rows] == [
        (shots, draw) for shots in "15" for draw in "012"
    ]
    values = json.loads((out / "few_shot.json").read_text())
    assert (values["seed"], values["classes"], values["runs"][0]["features"]) == (2, 2, 8)
    for of_shots in values["runs"][0]["shots"]:
        own = [row for row in rows if row["shots"] == str(of_shots["shots"])]
        assert {float(row["l2"]) for row in own} == {of_shots["l2"]}
        expected = Estimate.of([float(row["test_accuracy"]) for row in own])
        assert of_shots["accuracy"]["mean"] == pytest.approx(expected.mean)
        line = f"| first | {of_shots['shots']} | {expected.percent()} |"
        assert line in printed
        assert line in (out / "few_shot.md").read_text()


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_run_of_any_family_has_features(kind, others, folder_data, tmp_path, capsys):
    run, out = make_run(tmp_path / "run", folder_data, kind=kind), tmp_path / "out"
    flags = ("--shots", 5, "--draws", 2, "--out", out, "--cache-dir", folder_data.cache_dir)
    few_shots(capsys, run, others, *flags)
    values = json.loads((out / "few_shot.json").read_text())
    assert values["runs"][0]["features"] == FEATURES[kind]
    assert len(rows_of(out)) == 2


def test_on_its_own_data_it_is_said_that_the_model_has_seen_them(run, capsys):
    printed = few_shots(capsys, run, "--shots", 1, "--draws", 1)
    assert "first was trained or chosen on 33 of these 36 images" in printed
    assert "one draw of the shots" in printed
    assert (run / "few-shot-colours" / "few_shot.md").exists()
    shutil.rmtree(run / "few-shot-colours")


def noted(run, data, capsys, out):
    """What a run's few shots of a folder end with, in a line."""
    flags = ("--shots", 1, "--draws", 1, "--out", out, "--cache-dir", data.cache_dir)
    return " ".join(few_shots(capsys, run, data.data_dir, *flags).split())


def test_what_the_initial_weights_have_seen_is_said_too(run, others, folder_data, tmp_path, capsys):
    """A run on other images, from a run on other images, from the model file of `run`."""
    first = tmp_path / "first"
    shutil.copytree(run, first)
    elsewhere = folder_data.replace(data_dir=str(others))
    second = make_run(tmp_path / "second", elsewhere, first / "model.keras")
    third = make_run(tmp_path / "third", elsewhere, second)
    told = noted(third, folder_data, capsys, tmp_path / "out")
    seen = "third, or a model that it started from, was trained or chosen on 33 of these 36 images"
    assert seen in told
    assert "is not known" not in told

    unknown = (
        f"weights of third have seen is not known: {first}/model.keras is no run, or no longer"
    )
    with (first / "model.keras").open("ab") as file:  # another model in its place
        file.write(b"more")
    assert unknown in noted(third, folder_data, capsys, tmp_path / "out")
    shutil.rmtree(first)
    told = noted(third, folder_data, capsys, tmp_path / "out")
    assert unknown in told
    assert "trained or chosen on" not in told


def test_of_a_bare_file_it_is_not_known_what_it_has_seen(run, folder_data, tmp_path, capsys):
    file = tmp_path / "bare.keras"
    shutil.copy(run / "model.keras", file)
    started = make_run(tmp_path / "started", folder_data, file)
    told = noted(started, folder_data, capsys, tmp_path / "out")
    assert "started was trained or chosen on 33 of these 36 images" in told
    assert f"initial weights of started have seen is not known: {file} is no run" in told


def test_a_run_that_started_from_one_on_these_images_says_so(
    run, digits_run, folder_data, tmp_path, capsys
):
    started = make_run(tmp_path / "started", folder_data, digits_run)
    flags = ("--shots", 1, "--draws", 1, "--out", tmp_path / "out")
    told = few_shots(capsys, digits_run, "--compare", started, run, *flags)
    assert "started, or a model that it started from, was trained or chosen on these images" in told
    assert "first was trained" not in told


def test_runs_are_compared_on_the_same_draws(run, digits_run, root, tmp_path, capsys):
    """A copy of a run has the same figures."""
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    flags = ("--shots", 2, "--draws", 3, "--out", tmp_path / "out")
    printed = few_shots(capsys, run, "--compare", copy, *flags)
    assert "| copy | 2 |" in printed
    assert "| +0.00 ± 0.00 |" in printed
    assert "difference to first" in printed
    rows = rows_of(tmp_path / "out")
    figures = [[row["test_accuracy"] for row in rows if row["run"] == str(r)] for r in (run, copy)]
    assert figures[0] == figures[1]
    assert "copy was trained" in printed
    error = refused(capsys, run, "--shots", 1, "--compare", digits_run)
    assert f"model of {digits_run} takes images" in error


def test_two_runs_of_one_name_are_told_apart_by_their_paths(run, tmp_path, capsys):
    copy = tmp_path / "first"
    shutil.copytree(run, copy)
    flags = ("--shots", 1, "--draws", 2, "--out", tmp_path / "out")
    few_shots(capsys, run, "--compare", copy, *flags)
    runs = json.loads((tmp_path / "out" / "few_shot.json").read_text())["runs"]
    assert [each["name"] for each in runs] == [str(run), str(copy)]
    assert runs[1]["shots"][0]["difference"]["mean"] == 0


def test_a_run_without_validation_gets_some_of_its_training_images(digits_run, tmp_path, capsys):
    flags = ("--shots", 3, "--draws", 2, "--out", tmp_path)
    printed = few_shots(capsys, digits_run, *flags)
    assert "digits: 10 classes. Images: 1,293 for training, 144 for validation, 360" in printed
    assert "digits was trained or chosen on these images" in printed


def test_images_become_the_models_size_as_in_its_training(root, others, folder_data, tmp_path):
    from small_vit.training.few_shot import load_subjects

    squashed = make_run(tmp_path / "squashed", folder_data.replace(fit="squash"))
    data = folder_data.replace(data_dir=str(others))
    (subject,) = load_subjects([squashed], most=1, draws=1, seed=0, data=data)
    assert (subject.data.fit, subject.dataset.image_shape) == ("squash", (8, 8, 3))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--shots 0 1", "--shots takes numbers of at least 1. Received: 0 1."),
        ("--shots", "--shots takes numbers of at least 1. Received: none."),
        ("--draws 0", "--draws must be at least 1. Received: 0."),
        ("--batch-size 0", "--batch-size must be at least 1. Received: 0."),
        ("--seed -1", "--seed must be at least 0. Received: -1."),
        ("--skip-unreadable", "Name DIR."),
        ("--cache-dir x", "Name DIR."),
        ("--shots 11", "needs 11 training images of each class. Received: 10 of class blue."),
    ],
)
def test_what_cannot_be_measured_is_refused(flags, message, run, capsys):
    assert message in refused(capsys, run, *flags.split())


def test_the_folder_of_the_runs_own_data_is_not_for_other_images(run, others, capsys):
    assert "leave it out with DIR" in refused(capsys, run, others, "--data-dir", others)


def test_figures_are_not_written_among_the_images(run, colours, capsys):
    error = refused(capsys, run, "--shots", 1, "--out", colours / "figures")
    assert "inside the folder of the images" in error
    assert not (colours / "figures").exists()


def test_images_that_have_changed_since_are_refused(run, colours, tmp_path, capsys):
    changed = tmp_path / "colours"
    shutil.copytree(colours, changed)
    shutil.copy(colours / "red" / "0.png", changed / "red" / "more.png")
    assert "have changed since" in refused(capsys, run, "--data-dir", changed)


def test_a_run_that_has_not_ended_is_refused(run, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "result.json").unlink()
    assert "has not ended" in refused(capsys, copy)
    assert "has not ended" in refused(capsys, run, "--compare", copy)
    assert "holds no run" in refused(capsys, tmp_path)
