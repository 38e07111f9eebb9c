"""The report of a run: every part is there, in order, for few and many classes."""

import csv
import re

import keras
import numpy as np
import pytest
from made_up import made_up_result
from markdown_it import MarkdownIt
from sklearn.metrics import recall_score

from small_vit.config import ExperimentConfig
from small_vit.data import Dataset, Split
from small_vit.data.folder.dataset import Duplicates, FolderDataset
from small_vit.plots.labels import printable
from small_vit.report.classes_section import confused_pairs
from small_vit.report.data_section import copies_in_test
from small_vit.report.examples_section import best_of_each_class, confident_mistakes
from small_vit.report.run_report import write_report
from small_vit.results.metrics import full_metrics
from small_vit.results.run_directory import RunDirectory
from tiny import tiny_classifier

pytestmark = pytest.mark.any_backend

NASTY = ("<b>x</b>", "a|b_c_ *d* `e`", "$x$ \udcff シ [y](z) which goes on and on without an end")


def split(images, classes, channels=1):
    generator = np.random.default_rng(images)
    pixels = generator.integers(0, 256, (images, 8, 8, channels), dtype=np.uint8)
    return Split(pixels, (np.arange(images) % classes).astype(np.int32))


def logits_for(labels, classes, strength=1.0):
    logits = np.random.default_rng(0).normal(size=(len(labels), classes))
    logits[np.arange(len(labels)), labels] += strength
    return logits.astype("float32")


def report(folder, dataset, logits, model=None, metrics=None, **result):
    """Write a report; return its Markdown."""
    folder.mkdir()
    run = RunDirectory(folder)
    losses = {"loss": 1.0, "accuracy": 0.99, "val_loss": 1.0, "val_accuracy": 0.5}
    temperatures = {"temperature_1": 2.0}
    run.write_history([{"epoch": epoch} | losses | temperatures for epoch in (1, 2)])
    ended = made_up_result(
        recipe="digits",
        dataset=dataset.name,
        arm="spt+lsa",
        metrics=full_metrics(logits, dataset.test.labels) | (metrics or {}),
        validation={"loss": 1.0, "accuracy": 0.5, "top5_accuracy": 0.9},
        epochs=2,
        command="small-vit train 'odd \udcff name'",
        **result,
    )
    config = ExperimentConfig(recipe="custom")
    model = model or tiny_classifier(
        input_shape=dataset.image_shape, num_classes=dataset.num_classes
    )
    write_report(run, config, ended, model, logits, dataset)
    return (folder / "report.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder_run(tmp_path_factory):
    """The report of a folder of images with nasty names: `(folder, text, dataset)`."""
    folder = tmp_path_factory.mktemp("reports") / "folder"
    splits = {"training": split(30, 3), "validation": split(9, 3), "test": split(24, 3)}
    files = {
        part: tuple(f"{part}/<i>_{number}|\udcfe.jpg" for number in range(len(of)))
        for part, of in splits.items()
    }
    duplicates = [
        Duplicates((files["training"][n], files["test"][n]), NASTY[:2], ("training", "test"), True)
        for n in range(22)
    ]
    dataset = FolderDataset(
        "own <images>",
        splits["training"],
        splits["test"],
        NASTY,
        splits["validation"],
        files=files,
        skipped=tuple((f"bad_{number}|.jpg", "not an *image*") for number in range(21)),
        duplicates=tuple(duplicates),
        dropped=(files["test"][0], files["training"][1]),
        notes=("Channels: 1 <grey>.",),
    )
    logits = logits_for(splits["test"].labels, 3)
    told = report(
        folder,
        dataset,
        logits,
        metrics={"temperature": 2.0, "calibration_error_before": 0.2},
        intervals={"accuracy": [0.5, 0.9]},
        kept_epoch=1,
        changes=["model.image_size: 8 -> 16"],
    )
    return folder, told, dataset


def headings(text):
    return re.findall(r"^#+ (.*)$", text, re.MULTILINE)


def pictures(text):
    return re.findall(r"^!\[.*\]\((.*)\)$", text, re.MULTILINE)


def text_of(markdown):
    """The text of Markdown, as a reader sees it."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown)
    children = [child for token in tokens for child in token.children or ()]
    assert not {"html_inline", "link_open"} & {child.type for child in children}
    return "\n".join(child.content for child in children)


def test_the_parts_stand_in_order(folder_run):
    _, told, _ = folder_run
    assert headings(told) == [
        r"spt+lsa on own \<images>, recipe digits, seed 0",
        "The images",
        "Files that were left out",
        "Pictures that occur more than once",
        "Samples",
        "Curves",
        "Which classes it confuses",
        "How well it knows each class",
        "How far its probabilities can be believed",
        "What it is wrong about",
        "The most typical image of each class",
        "The least certain image of each class",
        "What a patch sees",
        "Where it looks",
        "How sharply it looks",
        "How it was made",
    ]


def test_the_first_lines_say_what_the_numbers_show(folder_run):
    _, told, dataset = folder_run
    start = told[: told.index("| | test")]
    assert "of 24 test images are classified correctly (95 % interval 35.1% to 90.0%)" in start
    assert "Naming the same class every time would be right for 33.3%" in start
    # Wilson's interval of 13 in 24 is 35.1% to 72.1%; the bootstrap's is made up.
    assert "anything from 35.1% to 90.0%" in start and "49.0 points above" in start
    assert copies_in_test(dataset) == 20  # of 22, one lost its copy and one is left out
    assert "20 of 24 test images have a copy" in start
    assert "with the weights of epoch 1, the best on validation" in start
    assert "(50.00% to 90.00%) | 50.00% |" in told and "top-5" not in told
    assert "Validation is of the model before calibration." in told


def test_splits_and_files_are_listed(folder_run):
    _, told, _ = folder_run
    assert "| class | training | validation | test |" in told and "| all | 30 | 9 | 24 |" in told
    assert r"- Channels: 1 \<grey>." in told
    assert "21 files cannot be read as images" in told and "*The first 20 of 21.*" in told
    assert r"| bad_19\|.jpg | not an \*image\* |" in told and "bad_20" not in told
    assert "22 groups: 22 of equal pixels, 0 that look alike. 22 in several splits" in told
    assert "*The first 20 of 22.*" in told and "2 files left out" in told


def test_what_the_run_changed_in_its_recipe_is_listed(folder_run):
    _, told, _ = folder_run
    assert "Changed from the recipe digits:\nmodel.image_size: 8 -> 16\n" in text_of(told)


def test_names_are_text_whatever_is_in_them(folder_run):
    folder, told, _ = folder_run
    text = text_of(told)
    for name in NASTY:
        assert printable(name) in text
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<b>x" not in page and "&lt;b&gt;x" in page
    assert page.count("data:image/png;base64,") == len(pictures(told)) == 11
    assert printable("odd \udcff name") in page


def test_the_pictures_are_files_of_moderate_size(folder_run):
    folder, told, _ = folder_run
    for name in pictures(told):
        assert (folder / name).stat().st_size < 300_000, name


def test_the_figures_of_each_class_are_in_a_table_and_in_a_file(folder_run):
    folder, told, dataset = folder_run
    with (folder / "per_class.csv").open(encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == list(NASTY)
    logits = logits_for(dataset.test.labels, 3)
    recall = recall_score(dataset.test.labels, logits.argmax(-1), average=None)
    np.testing.assert_allclose([float(row["recall"]) for row in rows], recall)
    assert f"| 8 | {recall[0]:.4f} |" in told


def test_many_classes_are_summed_up(tmp_path):
    dataset = Dataset(
        "many", split(84, 42, 3), split(126, 42, 3), tuple(f"class {n}" for n in range(42))
    )
    logits = logits_for(dataset.test.labels, 42)
    told = report(tmp_path / "run", dataset, logits)
    assert "| 42 classes | training | test |" in told and "| fewest of a class | 2 | 3 |" in told
    assert "10% of the training images are for validation" in told
    assert "Training images of 20 of 42 classes" in told
    assert "confusion.png" not in told and "| class | taken for | images | of the class |" in told
    assert "typical.png" not in told and "| test images |" not in told
    assert (tmp_path / "run" / "per_class.csv").exists() and "top-5 accuracy" in told


def test_two_classes_without_a_mistake_and_a_model_without_attention(tmp_path):
    dataset = Dataset("two", split(20, 2), split(10, 2), ("no", "yes"))
    logits = logits_for(dataset.test.labels, 2, strength=20)
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    positive = {"threshold": 0.25, "precision_positive": 1.0}
    told = report(tmp_path / "run", dataset, logits, model, positive)
    assert "Every test image is classified correctly." in told
    assert "| threshold of the positive class | 0.2500 | |" in told
    assert "The positive class is no. At the threshold" in told and "of 25.0% on." in told
    assert "Where it looks" not in told and "What a patch sees" not in told
    assert "The test set was used once, after the last epoch." in told
    assert "(95 % interval 72.2% to 100.0%)" in told  # Wilson's, for 10 of 10


def test_pairs_are_from_the_most_confused_on():
    counts = np.array([[5, 2, 0], [7, 1, 0], [2, 0, 9]])
    assert confused_pairs(counts) == [(1, 0), (0, 1), (2, 0)]
    assert len(confused_pairs(np.ones((9, 9), int))) == 20
    assert confused_pairs(np.eye(3, dtype=int)) == []


def test_mistakes_and_examples_are_found():
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]])
    labels = np.array([1, 0, 0, 0])
    assert list(confident_mistakes(probabilities, labels)) == [0, 2, 1]
    assert list(best_of_each_class(np.array([0.1, 0.3, 0.2, 0.5]), labels)) == [3, 0]
    assert list(best_of_each_class(np.array([0.1, 0.3]), np.array([4, 4]))) == [1]
