"""The `transfer` command, and `train --init-from`, from the command line on."""

import re
import shutil

import keras
import numpy as np
import pytest
from PIL import Image
from trained import save_run

from small_vit.cli import train, transfer
from small_vit.cli.settings import from_trained
from small_vit.cli.train import parse_training
from small_vit.recipes import digits
from small_vit.results.rows import read_rows
from small_vit.results.run_directory import RunDirectory
from small_vit.sweeps.plan import make_plan
from tiny import TINY

pytestmark = [pytest.mark.any_backend, pytest.mark.usefixtures("without_reports")]

FEW = (
    "--train-examples 64 --validation-split none --epochs 1 --batch-size 64 --seed 3 "
    "--no-flip --translation 0"
).split()
RATE = ["--learning-rate", "0.02"]
ARMS = ["scratch", "fine-tuned", "linear-probe"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The folder of a run with a plain model of digits, whose dropouts are at their defaults."""
    folder = tmp_path_factory.mktemp("runs") / "numbers"
    config = digits().replace(model=TINY | {"dropout": 0.25, "shifts": "none"})
    save_run(folder, config, (8, 8, 1), [str(digit) for digit in range(10)])
    return folder


@pytest.fixture(scope="module")
def transferred(source, tmp_path_factory):
    """The folder of a finished transfer with one seed."""
    folder = tmp_path_factory.mktemp("transfer") / "out"
    names = ["--from", str(source), "--to", "digits", "--out", str(folder), "--seeds", "1"]
    assert transfer.main([*names, *FEW, *RATE]) == 0
    return folder


def refused(main, capsys, *arguments):
    """Run a command line; return the message it ends with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([*map(str, arguments)])
    assert stop.value.code == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "Traceback" not in error
    return error


def parsed(*arguments):
    return parse_training([*map(str, arguments)])[1]


# ------------------------------------------------------------------ transfer


def test_three_starts_share_model_budget_and_seed(transferred, source):
    rows = read_rows(transferred / "rows.jsonl")
    assert [row.arm for row in rows] == ARMS
    configs = [RunDirectory(transferred / f"{arm}-seed3").config() for arm in ARMS]
    budget = {(each.train.epochs, each.train.batch_size, each.train.seed) for each in configs}
    assert budget == {(1, 64, 3)}
    scratch, tuned, probe = configs
    assert [each.train.init_from for each in configs] == [None, str(source), str(source)]
    assert scratch.model == tuned.model == RunDirectory(source).config().model
    assert probe.model == scratch.model.replace(dropout=0.0, attention_dropout=0.0, head_dropout=0)
    assert (tuned.train.layer_decay, probe.train.freeze) == (0.9, ("backbone",))
    assert [each.train.learning_rate for each in configs] == [0.02, 1e-3, 1e-2]
    assert [row.trainable_parameters for row in rows][2] == 8 * 10 + 10
    of_model = [[each for each in row.changes if "model." in each] for row in rows[1:]]
    assert of_model == [[], ["model.dropout: 0.25 -> 0.0"]]
    fingerprints = [row.init_fingerprint for row in rows]
    assert fingerprints[0] is None and fingerprints[1] == fingerprints[2] is not None


def test_the_table_has_the_differences(transferred):
    told = (transferred / "sweep.md").read_text()
    assert told.startswith("# Does it help to start from a trained model")
    for arm in ARMS:
        assert f"| {arm} | " in told
    assert "| baseline |" in told


def test_it_is_resumed_by_the_same_command_or_by_its_folder(transferred, source, capsys):
    names = ["--from", str(source / "model.keras"), "--to", "digits"]
    names += [*FEW, *RATE, "--seeds", "1", "--out", str(transferred)]
    assert transfer.main(names) == 0
    assert transfer.main(["--resume", str(transferred)]) == 0
    assert "runs ended" not in capsys.readouterr().out
    error = refused(transfer.main, capsys, "--resume", transferred, "--to", "digits")
    assert "--resume knows both" in error
    error = refused(transfer.main, capsys, "--resume", transferred / "scratch-seed3")
    assert "holds no transfer" in error
    error = refused(train.main, capsys, "--resume", transferred)
    assert f"holds a transfer. Resume it with small-vit transfer --resume {transferred}" in error


def test_results_of_other_weights_are_not_taken_for_these(transferred, source, tmp_path, capsys):
    other = tmp_path / source.name
    shutil.copytree(source, other)
    model = keras.saving.load_model(other / "model.keras")
    model.trainable_variables[0].assign(model.trainable_variables[0] + 1)
    model.save(other / "model.keras")
    names = ["--from", str(other), "--to", "digits", "--out", str(transferred), "--seeds", "2"]
    error = refused(transfer.main, capsys, *names, *FEW, *RATE)
    assert f"The weights in {other} are not those that fine-tuned-seed3" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "Name a trained model and new images: --from RUN --to DATASET"),
        ("--from SOURCE", "Name a trained model and new images"),
        ("--from SOURCE --to digit", "--to must be one of cifar100, .* Received: 'digit'"),
        ("--from gone --to digits", "There is no gone"),
        ("--from SOURCE --to digits --dataset cifar10", "leave out --init-from, --dataset"),
        ("--from SOURCE --to digits --init-from x", "leave out --init-from"),
        ("--from SOURCE --to digits --model resnet20", "leave out --model"),
        ("--from SOURCE --to digits --freeze backbone", "leave out --freeze, --layer-decay"),
        ("--from SOURCE --to digits --layer_decay=0.5", "leave out --freeze, --layer-decay"),
        ("--from SOURCE --to digits --recipe linear-probe", "linear-probe is for trained models"),
        ("--from SOURCE --to cifar10 --data-dir gone --dry-run", "^error: .*gone"),
        ("--from SOURCE --to digits --seeds 0", "--seeds must be at least 1"),
    ],
)
def test_bad_input_leaves_no_folder(arguments, message, source, tmp_path, capsys):
    given = arguments.replace("SOURCE", str(source)).split()
    error = refused(transfer.main, capsys, *given, *FEW, "--out", tmp_path / "out")
    assert re.search(message, error)
    assert not list(tmp_path.iterdir())


def save_birds(folder, channels):
    """Write forty images of noise, in two classes."""
    generator = np.random.default_rng(0)
    for name in ("hen", "duck"):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = generator.integers(0, 256, (8, 8, channels), "uint8").squeeze()
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture
def birds(tmp_path):
    """A folder of forty grey images in two classes."""
    return save_birds(tmp_path / "birds", 1)


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_what_an_arm_cannot_start_from_is_told_before_the_first_one_trains(
    dry, source, birds, tmp_path, capsys
):
    unfinished = tmp_path / "unfinished"
    RunDirectory(unfinished).create(RunDirectory(source).config(), {}, [])
    coloured = save_birds(tmp_path / "coloured", 3)
    cache = ["--cache-dir", tmp_path / "cache"]
    for arguments, message in [
        (("--from", unfinished, "--to", "digits"), "has not ended, so it has no model yet"),
        (("--from", source, "--to", coloured, *cache), "must take images of 3 channels"),
        (("--from", source, "--to", birds, "--patch-size", 2, *cache), "patch_size must be that"),
    ]:
        error = refused(transfer.main, capsys, *arguments, *dry, "--out", tmp_path / "out")
        assert "error: The arm fine-tuned cannot be trained. " in error
        assert message in error
        assert not (tmp_path / "out").exists()


def test_images_of_ones_own_choose_the_recipe_by_their_number(source, birds, tmp_path, capsys):
    names = ["--from", str(source), "--to", str(birds), "--cache-dir", str(tmp_path / "cache")]
    assert transfer.main([*names, "--dry-run", "--seeds", "1"]) == 0
    told = capsys.readouterr().out
    assert "3 of 3 runs left" in told
    base, _ = transfer._base(names)
    assert (base.recipe, base.data.name) == ("folder-small", "birds")
    assert base.model == RunDirectory(source).config().model


def test_a_transfer_at_another_size_has_a_folder_of_its_own(source, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    base = from_trained(digits(), source)
    names = [
        make_plan("transfer", base.replace(model=changes), 1).folder.name
        for changes in ({}, {"image_size": 16})
    ]
    assert names == [
        "transfer-digits-init_from-numbers",
        "transfer-digits-image_size-16-init_from-numbers",
    ]


# ------------------------------------------------------------------ train --init-from


def test_the_model_is_that_of_the_weights_and_the_rest_the_recipes(source, birds):
    trained = RunDirectory(source).config().model
    config = parsed("--init-from", source, "--recipe", "fine-tune")
    assert config.model == trained
    assert config.train.init_from == str(source)
    assert (config.arm, config.train.layer_decay) == ("fine-tuned", 0.9)
    larger = parsed(birds, "--init-from", source, "--image-size", "24", "--dropout", "0.5")
    assert larger.model == trained.replace(image_size=24, dropout=0.5)
    assert (larger.recipe, larger.data.data_dir) == ("folder-small", str(birds))
    probe = parsed("--init-from", source / "model.keras", "--recipe", "linear-probe")
    assert probe.model.dropout == probe.model.attention_dropout == 0.0
    assert (probe.arm, probe.train.freeze) == ("linear-probe", ("backbone",))
    frozen = parsed("--init-from", source, "--recipe", "digits", "--freeze", "backbone")
    assert frozen.model == trained
    assert frozen.arm == "new-head"
    assert parsed("--init-from", source, "--recipe", "linear-probe", "--freeze").arm == "fine-tuned"


def test_a_file_alone_is_enough(source, tmp_path):
    shutil.copy(source / "model.keras", tmp_path / "alone.keras")
    config = parsed("--init-from", tmp_path / "alone.keras")
    assert config.model == RunDirectory(source).config().model


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--model resnet20", "--init-from brings its model: leave out --model"),
        ("--vanilla", "--init-from brings its model: leave out --vanilla"),
        ("--freeze backbone --optimizer sgd --layer-decay 0.5", "only AdamW has rates by layer"),
    ],
)
def test_what_the_weights_decide_is_refused(arguments, message, source, capsys):
    given = ["--init-from", source, "--recipe", "cpu", *arguments.split()]
    assert message in refused(train.main, capsys, *given)
