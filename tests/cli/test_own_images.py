"""From a folder of images to a trained model, and what is done with it."""

import csv
import json
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from small_vit.cli import compare, evaluate, predict, report, train
from small_vit.sweeps import runner

pytestmark = pytest.mark.any_backend

COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}
TINY_FLAGS = (
    "--image-size 8 --patch-size 4 --projection-dim 8 --num-layers 1 --num-heads 2 --key-dim 4 "
    "--batch-size 8 --epochs 2"
).split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Noisy images of three colours, wider than high, twelve of each."""
    root = tmp_path_factory.mktemp("own") / "colours"
    generator = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / name).mkdir(parents=True)
        for number in range(12):
            noise = generator.integers(0, 120, (12, 20, 3))
            pixels = np.clip(np.array(colour) * 0.5 + noise, 0, 255).astype("uint8")
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def run(folder, cache, tmp_path_factory):
    """A run on that folder."""
    out = tmp_path_factory.mktemp("runs") / "run"
    arguments = [str(folder), *TINY_FLAGS, "--cache-dir", str(cache), "--out", str(out)]
    assert train.main([*arguments, "--calibrate", "--keep", "best"]) == 0
    return out


def refused(capsys, main, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([*map(str, arguments)])
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_a_run_records_which_file_is_in_which_split(run, folder):
    with (run / "files.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["file"] for row in rows) == sorted(
        path.relative_to(folder).as_posix() for path in folder.glob("*/*")
    )
    assert all(row["file"].split("/")[0] == row["class"] for row in rows)
    splits = [row["split"] for row in rows]
    assert [splits.count(name) for name in ("training", "validation", "test")] == [30, 3, 3]


def test_a_run_is_of_its_folder_and_of_the_recipe_for_its_size(run):
    result = json.loads((run / "result.json").read_text())
    assert (result["dataset"], result["recipe"]) == ("colours", "folder-small")
    assert result["metrics"]["temperature"] > 0
    assert result["intervals"]["accuracy"][0] <= result["metrics"]["accuracy"]
    assert (run / "report.html").exists()


def test_the_model_file_alone_knows_its_classes_and_how_images_are_made_its_size(
    run, folder, tmp_path, capsys
):
    with zipfile.ZipFile(run / "model.keras") as archive:
        about = json.loads(archive.read("small_vit.json"))
    assert about.pop("model")["kind"] == "vit"
    assert about == {"class_names": ["blue", "green", "red"], "fit": "crop"}
    shutil.copy(run / "model.keras", tmp_path / "alone.keras")
    assert predict.main([str(tmp_path / "alone.keras"), str(folder / "red" / "0.png")]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in COLOURS)


def test_predict_takes_folders(run, folder, tmp_path):
    table = tmp_path / "classes.csv"
    assert predict.main([str(run), str(folder), "--csv", str(table)]) == 0
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == sorted(map(str, folder.glob("*/*.png")))


def test_predict_fits_images_as_the_run_did(folder, cache, tmp_path, capsys):
    """Squashed or cropped, a wide image gives other pixels."""
    wide = tmp_path / "wide.png"
    pixels = np.zeros((8, 24, 3), "uint8")
    pixels[:, :8], pixels[:, 16:] = COLOURS["red"], COLOURS["green"]
    Image.fromarray(pixels).save(wide)
    shown = []
    for fit in ("crop", "squash"):
        out = tmp_path / fit
        arguments = [str(folder), *TINY_FLAGS, "--cache-dir", str(cache), "--out", str(out)]
        assert train.main([*arguments, "--fit", fit]) == 0
        squashed = tmp_path / f"{fit}.png"
        resized = Image.open(wide).resize((8, 8), Image.Resampling.BILINEAR)
        resized.save(squashed)
        capsys.readouterr()
        predict.main([str(out), str(wide), str(squashed)])
        lines = capsys.readouterr().out.splitlines()
        half = len(lines) // 2
        shown.append(lines[1:half] == lines[half + 1 :])
    assert shown == [False, True]


def test_a_run_on_a_folder_is_resumed_but_not_with_other_images(
    run, folder, cache, tmp_path, capsys
):
    assert train.main(["--resume", str(run)]) == 0
    changed = tmp_path / "colours"
    shutil.copytree(folder, changed)
    shutil.copy(folder / "red" / "0.png", changed / "red" / "more.png")
    error = refused(capsys, train.main, "--resume", run, "--data-dir", changed)
    assert "images are not those that the run was started with" in error


@pytest.mark.parametrize("command", [evaluate, report])
def test_a_folder_that_has_changed_gives_no_test_set(command, run, folder, tmp_path, capsys):
    """Its split is another, so images that were trained on would be tested on."""
    changed = tmp_path / "colours"
    shutil.copytree(folder, changed)
    shutil.copy(folder / "red" / "0.png", changed / "red" / "more.png")
    before = (run / "report.md").read_text()
    error = refused(capsys, command.main, run, "--data-dir", changed)
    assert "have changed since" in error
    assert (run / "report.md").read_text() == before


def test_evaluate_measures_new_images_and_names_those_it_cannot_read(run, folder, tmp_path, capsys):
    new = tmp_path / "new"
    shutil.copytree(folder, new)
    shutil.rmtree(new / "green")
    (new / "red" / "broken.png").write_bytes(b"no image")
    assert evaluate.main([str(run), str(new)]) == 1
    captured = capsys.readouterr()
    assert "broken.png" in captured.err
    out = run / "evaluations" / "new"
    assert str(out / "report.html") in captured.out
    metrics = json.loads((out / "metrics.json").read_text())["metrics"]
    assert 0 <= metrics["accuracy"] <= 1
    assert (out / "report.html").exists()


def test_evaluate_gives_a_runs_test_files_the_runs_own_figures(run, folder, tmp_path, capsys):
    with (run / "files.csv").open(newline="") as file:
        tested = [row for row in csv.DictReader(file) if row["split"] == "test"]
    table = tmp_path / "test.csv"
    lines = [f"{folder / row['file']},{row['class']}" for row in tested]
    table.write_text("\n".join(["file,class", *lines]))
    assert evaluate.main([str(run), str(table), "--out", str(tmp_path / "report")]) == 0
    measured = json.loads((tmp_path / "report" / "metrics.json").read_text())["metrics"]
    expected = json.loads((run / "result.json").read_text())["metrics"]
    for name in ("accuracy", "loss", "f1"):
        assert measured[name] == pytest.approx(expected[name], abs=1e-5)


def test_evaluate_takes_images_of_one_class(run, folder, tmp_path, capsys):
    new = tmp_path / "new"
    shutil.copytree(folder / "red", new / "red")
    assert evaluate.main([str(run), str(new), "--out", str(tmp_path / "report")]) == 0
    assert "top-1 accuracy" in capsys.readouterr().out


def test_evaluate_refuses_images_that_the_run_was_trained_on(run, folder, capsys):
    assert "was trained or chosen on 33 of the 36" in refused(capsys, evaluate.main, run, folder)


def test_evaluate_does_not_replace_a_runs_own_report(run, folder, tmp_path, capsys):
    shutil.copytree(folder, tmp_path / "new")
    error = refused(capsys, evaluate.main, run, tmp_path / "new", "--out", run)
    assert "holds a run" in error


def test_of_two_classes_the_model_knows_the_positive_one_and_its_threshold(
    folder, cache, tmp_path, capsys
):
    two = tmp_path / "two"
    for name in ("blue", "red"):
        shutil.copytree(folder / name, two / name)
    for number in range(4):
        (two / "red" / f"{number}.png").unlink()
    arguments = [str(two), *TINY_FLAGS, "--cache-dir", str(cache), "--out", str(tmp_path / "run")]
    assert train.main(arguments) == 0
    with zipfile.ZipFile(tmp_path / "run" / "model.keras") as archive:
        about = json.loads(archive.read("small_vit.json"))
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert about["class_names"][about["positive"]] == "red"  # the rarer one
    assert about["threshold"] == result["metrics"]["threshold"]
    capsys.readouterr()
    assert evaluate.main([str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    assert f"| F1 at the threshold | {result['metrics']['f1_at_threshold']:.4f} |" in shown
    shutil.copytree(folder / "red", tmp_path / "new" / "red")
    assert evaluate.main([str(tmp_path / "run"), str(tmp_path / "new")]) == 0
    assert "recall at the threshold" in capsys.readouterr().out


def test_a_run_lists_what_it_skipped_and_what_occurs_twice(folder, cache, tmp_path):
    odd = tmp_path / "odd"
    shutil.copytree(folder, odd)
    shutil.copy(odd / "red" / "0.png", odd / "red" / "copy.png")
    (odd / "red" / "broken.png").write_bytes(b"no image")
    arguments = [str(odd), *TINY_FLAGS, "--cache-dir", str(cache), "--out", str(tmp_path / "run")]
    assert train.main([*arguments, "--skip-unreadable", "--drop-duplicates"]) == 0
    with (tmp_path / "run" / "skipped.csv").open(newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == ["red/broken.png"]
    with (tmp_path / "run" / "duplicates.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["file"] for row in rows} == {"red/0.png", "red/copy.png"}
    assert sorted(row["dropped"] for row in rows) == ["False", "True"]


def test_a_run_is_not_written_among_its_images(folder, tmp_path, capsys):
    """It is refused before the images are decoded, which may take minutes."""
    out, cache = folder / "runs" / "run", tmp_path / "cache"
    arguments = [folder, *TINY_FLAGS, "--cache-dir", cache, "--out"]
    for main, path in ((train.main, out), (train.main, folder), (compare.main, out)):
        assert "inside the folder of the images" in refused(capsys, main, *arguments, path)
    assert not (folder / "runs").exists() and not cache.exists()


def test_a_report_is_not_written_among_the_images(run, tmp_path, capsys):
    for name, colour in COLOURS.items():
        (tmp_path / "new" / name).mkdir(parents=True)
        Image.new("RGB", (20, 12), colour).save(tmp_path / "new" / name / "a.png")
    out = tmp_path / "new" / "report"
    error = refused(capsys, evaluate.main, run, tmp_path / "new", "--out", out)
    assert "inside the folder of the images" in error
    assert not out.exists()


def test_a_run_knows_its_folder_from_everywhere(folder, monkeypatch):
    monkeypatch.chdir(folder)
    _, config = train.parse_training(["."])
    assert config.data.data_dir == str(folder.resolve())
    assert config.data.name == "colours"


def test_evaluate_refuses_classes_that_the_model_does_not_know(run, folder, tmp_path, capsys):
    new = tmp_path / "new"
    shutil.copytree(folder, new)
    (new / "red").rename(new / "purple")
    assert "does not know: purple" in refused(capsys, evaluate.main, run, new)


def test_compare_trains_both_arms_on_a_folder(folder, cache, tmp_path, capsys):
    out = tmp_path / "compared"
    arguments = [str(folder), *TINY_FLAGS, "--cache-dir", str(cache), "--out", str(out)]
    assert compare.main([*arguments, "--seeds", "1"]) == 0
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    assert {row["arm"] for row in rows} == {"vanilla", "spt+lsa"}
    assert {row["dataset"] for row in rows} == {"colours"}

    # Of another folder of that name, and of this one with an image more, these are not the results.
    other = tmp_path / "other" / "colours"
    shutil.copytree(folder, other)
    arguments[0] = str(other)
    assert compare.main([*arguments, "--seeds", "1"]) == 0
    Image.new("RGB", (20, 12), "red").save(other / "red" / "more.png")
    error = refused(capsys, compare.main, *arguments, "--seeds", "2")
    assert f"The images in {other} are not those that" in error
    assert len((out / "rows.jsonl").read_text().splitlines()) == 2


def test_the_folder_comes_first(folder, capsys):
    assert "must come first" in refused(capsys, train.main, "--epochs", "1", folder)


def test_the_recipe_needs_a_folder(capsys):
    assert "The dataset folder needs" in refused(capsys, train.main, "--recipe", "folder")


def test_a_network_without_patches_takes_the_size_of_the_recipe_for_the_folder(folder):
    _, recipe = train.parse_training([str(folder)])
    _, config = train.parse_training([str(folder), "--model", "resnet18"])
    assert config.model.image_size == recipe.model.image_size == 64
    _, config = train.parse_training([str(folder), "--model", "cct-2/3x2", "--image-size", "48"])
    assert config.model.image_size == 48
    _, config = train.parse_training([str(folder), "--model", "vit-ti/16"])
    assert config.model.image_size == 224


def test_patches_follow_the_image_size(folder):
    _, config = train.parse_training([str(folder), "--image-size", "48", "96"])
    assert config.model.patch_size == (6, 12)
    _, config = train.parse_training([str(folder), "--image_size", "48", "96"])
    assert config.model.patch_size == (6, 12)
    _, config = train.parse_training([str(folder), "--image-size", "48", "--patch-size", "4"])
    assert config.model.patch_size == 4


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--positive", "red"], "positive is for two classes"),
        (["--class-weights", "purple=2"], "purple"),
        (["--minutes", "0"], "--minutes must be a number above 0"),
        (["--minutes", "nan"], "--minutes must be a number above 0"),
        (["--validation-split", "last"], "stratified"),
    ],
)
def test_settings_that_do_not_fit_the_folder_are_refused(folder, cache, flags, message, capsys):
    error = refused(capsys, train.main, folder, *TINY_FLAGS, "--cache-dir", cache, *flags)
    assert message in error


def test_a_comparison_on_a_ray_cluster_takes_a_folder(folder, cache, tmp_path, monkeypatch):
    """The cluster is made up: what is asked of it is looked at."""
    asked = []

    def on_cluster(address, **options):
        return lambda runs: asked.extend(runs) or ()

    monkeypatch.setattr(runner, "run_on_ray", on_cluster)
    arguments = [
        str(folder),
        *TINY_FLAGS,
        "--cache-dir",
        str(cache),
        "--out",
        str(tmp_path / "out"),
    ]
    assert compare.main([*arguments, "--seeds", "1", "--ray", "head:6379"]) == 0
    assert [run.config.data.dataset for run in asked] == ["folder", "folder"]
