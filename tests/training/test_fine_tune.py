"""Training from a trained model: what is frozen, rates by layer, and what a run keeps of it."""

import json
import re
import shutil
import zipfile

import keras
import numpy as np
import pytest
from trained import randomize_all, save_run, undrawn

from layer_harness import close, normal, to_numpy
from small_vit import AdamW, ExperimentConfig, TrainConfig
from small_vit.data import load_dataset
from small_vit.errors import InputError
from small_vit.models.registry import build_classifier, model_config
from small_vit.models.resnet.config import STAGES
from small_vit.recipes import RECIPES, cpu, digits
from small_vit.results.rows import config_hash
from small_vit.results.run_directory import ABOUT, RunDirectory
from small_vit.results.saved_model import about_model, load_model
from small_vit.sweeps.grid import Run
from small_vit.sweeps.runner import check_initial_weights
from small_vit.training.classifier import build_training_model
from small_vit.training.factories import compile_model, layer_rates
from small_vit.training.prepare import prepare
from small_vit.training.run import run_experiment
from small_vit.training.start import freeze, read_model_config
from tiny import NO_DROPOUT, TINY

pytestmark = pytest.mark.usefixtures("without_reports")

DIGITS = [str(digit) for digit in range(10)]


@pytest.fixture(scope="module")
def base():
    """A training of one step on digits."""
    return digits().replace(
        model=TINY | NO_DROPOUT,
        augment={"flip": False, "rotation": 0.0, "zoom": 0.0, "translation": 0.0},
        data={"train_examples": 64, "validation_split": "none"},
        train={"epochs": 1, "batch_size": 64, "schedule": "constant"},
    )


@pytest.fixture(scope="module")
def source(base, tmp_path_factory):
    """The folder of a run whose model tells hens from ducks."""
    folder = tmp_path_factory.mktemp("runs") / "birds"
    save_run(folder, base, (8, 8, 1), ["hen", "duck"])
    return folder


def values_of(model):
    return {variable.path: to_numpy(variable) for variable in model.weights}


def built(kind, classes=3, **fields):
    with undrawn():
        return build_classifier(model_config(kind, **fields), (8, 8, 3), classes)


def small_resnet(monkeypatch):
    monkeypatch.setitem(STAGES, 18, ((4, 1), (6, 1)))
    return randomize_all(built("resnet", 4, image_size=8, depth=18))


# ------------------------------------------------------------------ rates by layer


def test_the_rate_falls_by_a_factor_from_block_to_block(monkeypatch):
    monkeypatch.setitem(STAGES, 18, ((4, 1), (6, 2)))
    vit = TINY | {"num_layers": 2, "head_units": (4,)}
    model = built("vit", **vit)
    expected = {
        "normalization": 0.125,
        "tokenization": 0.125,
        "encoder": 0.125,
        "block_0": 0.25,
        "block_1": 0.5,
        "norm": 1.0,
        "head_0": 1.0,
        "logits": 1.0,
    }
    assert layer_rates(model, 0.5) == expected
    freeze(model, ("block_1", "block_0"))
    assert layer_rates(model, 0.5) == expected
    rates = layer_rates(built("cct", image_size=8, projection_dim=8, num_layers=1), 0.5)
    assert rates == {
        "normalization": 0.25,
        "conv_0": 0.25,
        "encoder": 0.25,
        "block_0": 0.5,
        "norm": 1.0,
        "pooling": 1.0,
        "logits": 1.0,
    }
    rates = layer_rates(built("resnet", image_size=8, depth=18), 0.5)
    of = {"normalization": 1 / 8, "stem": 1 / 8}
    of |= {"block_0": 1 / 4, "block_1": 1 / 2, "logits": 1.0}
    for name, rate in rates.items():
        assert rate == next(of[start] for start in of if name.startswith(start)), name
    assert {"stem_conv", "block_1_0_shortcut_norm", "block_1_1_second_conv"} <= set(rates)


def test_a_training_step_moves_each_block_at_its_rate():
    train = {"layer_decay": 0.1, "learning_rate": 0.01, "weight_decay": 0.0}
    config = digits().replace(
        model=TINY | NO_DROPOUT | {"num_layers": 2}, train=train | {"schedule": "constant"}
    )
    model = build_training_model(config, load_dataset("digits"))
    compile_model(model, config.train, steps_per_epoch=1, num_classes=10)
    paths = [f"block_{n}/mlp_output/kernel" for n in (0, 1)] + ["logits/kernel"]
    weights = {each.path: each for each in model.classifier.trainable_weights}
    before = [to_numpy(weights[path]) for path in paths]
    images = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 1), "uint8")
    model.train_on_batch(images, np.eye(10, dtype="float32")[:8])
    moved = [
        np.abs(to_numpy(weights[path]) - old).max() for path, old in zip(paths, before, strict=True)
    ]
    # Adam's first step is as long as the rate.
    np.testing.assert_allclose(moved, [1e-4, 1e-3, 1e-2], rtol=0.01)


@pytest.mark.parametrize("rule", ["decoupled", "scaled"])
def test_a_layers_rate_is_that_of_an_optimizer_of_its_own(rule):
    layers = [keras.layers.Dense(3, name="low"), keras.layers.Dense(2, name="high")]
    model = keras.Sequential([keras.Input((3,)), *layers])
    variables = randomize_all(model).trainable_variables
    start = [to_numpy(variable) for variable in variables]
    gradients = [[normal(each.shape, seed) for each in variables] for seed in range(3)]

    def after_training(rates, rate=0.1):
        optimizer = AdamW(rate, weight_decay=0.3, decay_rule=rule, layer_rates=rates)
        for variable, value in zip(variables, start, strict=True):
            variable.assign(value)
        for gradient in gradients:
            optimizer.apply(gradient, variables)
        return {variable.path: to_numpy(variable) for variable in variables}

    found = after_training({"low": 0.25})
    slow, fast = after_training({}, 0.025), after_training(None)
    for path, value in found.items():
        close(value, (slow if path.startswith("low/") else fast)[path], 1e-6)
        assert np.abs(slow[path] - fast[path]).max() > 1e-3


def test_rates_by_layer_are_saved_with_the_optimizer():
    optimizer = AdamW(0.1, layer_rates={"block_0": 0.5})
    written = json.loads(json.dumps(keras.saving.serialize_keras_object(optimizer)))
    read = keras.saving.deserialize_keras_object(written)
    assert read.layer_rates == {"block_0": 0.5}
    assert read.get_config() == optimizer.get_config()


# ------------------------------------------------------------------ frozen layers


def test_frozen_layers_and_their_moving_averages_stay_as_they_are(monkeypatch):
    model = small_resnet(monkeypatch)
    before, trainable = values_of(model), sum(map(np.size, model.trainable_weights))
    assert freeze(model, ("backbone",)) == trainable - (6 * 4 + 4)
    model.compile(keras.optimizers.SGD(0.1), keras.losses.CategoricalCrossentropy(True))
    model.train_on_batch(normal((4, 8, 8, 3)), np.eye(4))
    for path, value in values_of(model).items():
        assert (value == before[path]).all() == (not path.startswith("logits")), path


def test_a_layer_is_frozen_by_its_name(monkeypatch):
    model = small_resnet(monkeypatch)
    assert freeze(model, ("stem_conv", "logits")) == 3 * 3 * 3 * 4 + (6 * 4 + 4)
    frozen = {layer.name for layer in model.layers if layer.weights and not layer.trainable}
    assert frozen == {"stem_conv", "logits"}


def test_what_cannot_be_frozen_is_refused(monkeypatch):
    model = small_resnet(monkeypatch)
    message = r"freeze names layers of the model: backbone, stem_conv, .*logits\. Received: blok"
    with pytest.raises(InputError, match=message):
        freeze(model, ("logits", "blok"))
    assert model.get_layer("logits").trainable
    with pytest.raises(InputError, match="freeze must leave layers to train"):
        freeze(model, ("backbone", "logits"))


# ------------------------------------------------------------------ a whole run


def test_a_probe_trains_the_head_alone_and_says_so(base, source, tmp_path, capsys):
    probe = base.replace(train={"init_from": str(source), "freeze": ["backbone"]})
    result = run_experiment(probe, tmp_path / "run")
    told = capsys.readouterr().out
    assert "Initial weights from birds: " in told
    assert "New: logits/kernel, logits/bias.\nNot used: logits/kernel, logits/bias.\n" in told
    old, (new, names) = load_model(source)[0], load_model(tmp_path / "run")
    total = sum(int(np.prod(weight.shape)) for weight in new.weights)
    assert result.trainable_parameters == 8 * 10 + 10
    assert f"90 parameters are trained, {total - 90:,} are frozen." in told
    assert names == DIGITS
    before, after = values_of(old), values_of(new)
    for path in before:
        if not path.startswith(("normalization", "logits")):
            np.testing.assert_array_equal(after[path], before[path])
    # Adam moves each weight of the head by about its rate in the first step, from zero.
    rate = probe.train.learning_rate
    assert 0 < np.abs(after["logits/kernel"]).max() < 1.1 * rate
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert re.fullmatch("[0-9a-f]{16}", result.init_fingerprint)
    assert environment["init_fingerprint"] == result.init_fingerprint


def test_a_run_is_not_resumed_from_other_weights(base, source, tmp_path):
    copy = tmp_path / "birds"
    shutil.copytree(source, copy)
    config = base.replace(train={"init_from": str(copy), "layer_decay": 0.5})
    first = run_experiment(config, tmp_path / "run")
    elsewhere = config.replace(train={"init_from": str(source)})
    assert run_experiment(elsewhere, tmp_path / "run", resume=True) == first
    RunDirectory(copy).save_model(load_model(copy)[0], about_model(copy) | {"fit": "pad"})
    message = f"init_fingerprint: {first.init_fingerprint} -> "
    with pytest.raises(InputError, match=message):
        run_experiment(config, tmp_path / "run", resume=True)


def test_what_does_not_fit_leaves_no_run(base, source, tmp_path):
    start = {"init_from": str(source)}
    for changes, message in [
        ({"train": start | {"freeze": ("blocks",)}}, "Received: blocks"),
        ({"train": start, "model": {"projection_dim": 12}}, "tokenization"),
        ({"train": {"freeze": ("backbone",)}}, "freeze and layer_decay are for a model that is"),
        ({"train": {"layer_decay": 0.5}}, "name it with --init-from"),
        ({"train": {"init_from": str(tmp_path / "gone")}}, "There is no .*gone"),
    ]:
        with pytest.raises(InputError, match=message):
            run_experiment(base.replace(**changes), tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_another_model_is_refused_before_data_are_loaded(base, source, monkeypatch):
    monkeypatch.setattr("small_vit.training.prepare.load_data", None)
    config = base.replace(train={"init_from": str(source)}, model={"patch_size": 2})
    with pytest.raises(InputError, match="patch_size must be that of init_from"):
        prepare(config)


def test_a_sweep_finds_a_wrong_layer_to_freeze_before_it_trains(base, tmp_path):
    config = base.replace(arm="some", train={"freeze": ("blok",)})
    with pytest.raises(InputError, match=r"The arm some cannot be trained\. .* Received: blok"):
        check_initial_weights([Run("some-seed0", config, tmp_path)])


# ------------------------------------------------------------------ sources and settings


def test_the_models_settings_are_read_from_a_run_or_its_file(base, source, tmp_path):
    assert read_model_config(source) == base.model
    alone = tmp_path / "alone.keras"
    shutil.copy(source / "model.keras", alone)
    assert read_model_config(alone) == base.model


def test_a_file_that_is_no_model_of_a_run_is_refused(source, tmp_path):
    older, foreign, text = (tmp_path / f"{name}.keras" for name in ("older", "foreign", "text"))
    with zipfile.ZipFile(older, "w") as archive:
        archive.writestr(ABOUT, json.dumps({"class_names": ["a"]}))
    keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()]).save(foreign)
    text.write_text("no zip")
    for path in (older, foreign, text):
        with pytest.raises(InputError, match=f"{path} does not say what model.*Name the folder"):
            read_model_config(path)
    with pytest.raises(InputError, match=r"holds no model\.keras"):
        read_model_config(tmp_path)


def test_of_a_trained_model_only_the_name_counts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start = TrainConfig(init_from="runs/birds")
    assert start.init_from == str((tmp_path / "runs" / "birds").resolve())
    assert start.init_name == TrainConfig(init_from="/x/birds/model.keras").init_name == "birds"
    assert TrainConfig(init_from="birds.keras").init_name == "birds.keras"
    here, there, other = (
        ExperimentConfig(train=TrainConfig(init_from=path))
        for path in ("runs/birds", "/elsewhere/birds/model.keras", "runs/fish")
    )
    assert here.differences(there) == []
    assert here.differences(other) == ["train.init_from: birds -> fish"]
    assert config_hash(here) == config_hash(there) != config_hash(other)
    assert config_hash(here) != config_hash(ExperimentConfig())


def test_settings_of_the_start_are_checked():
    with pytest.raises(InputError, match="layer_decay must be 1 for optimizer='sgd'"):
        TrainConfig(optimizer="sgd", decay_rule="scaled", layer_decay=0.75)
    for value in (0.0, 1.5):
        with pytest.raises(InputError, match="layer_decay must be above 0 and at most 1"):
            TrainConfig(layer_decay=value)
    assert TrainConfig(freeze=("b", "a", "b")).freeze == ("a", "b")


def test_recipes_of_fine_tuning_differ_from_cpu_in_how_they_train_alone():
    for name in ("fine-tune", "fine-tune-sgd", "linear-probe"):
        changed = cpu().differences(RECIPES[name]())
        assert {line.partition(".")[0] for line in changed if "." in line.split(":")[0]} == {
            "train"
        }
    published = RECIPES["fine-tune-sgd"]().train
    assert (published.optimizer, published.momentum, published.batch_size) == ("sgd", 0.9, 512)
    assert (published.schedule, published.weight_decay) == ("warmup_cosine", 0.0)
    assert published.clip_norm == 1.0


# ------------------------------------------------------------------ layers by the start of a name


def frozen_by(monkeypatch, name):
    """The layers of a small ResNet that a name freezes."""
    monkeypatch.setitem(STAGES, 20, ((4, 2), *[(4, 1)] * 9, (4, 1)))
    model = built("resnet", image_size=8, depth=20)
    before = {layer.name for layer in model.layers if layer.trainable_weights}
    freeze(model, (name,))
    return before - {layer.name for layer in model.layers if layer.trainable_weights}


@pytest.mark.any_backend
def test_a_name_stands_for_a_stage_or_a_block_of_a_resnet(monkeypatch):
    parts = [f"{part}_{layer}" for part in ("first", "second") for layer in ("conv", "norm")]
    first, second = ({f"block_0_{block}_{part}" for part in parts} for block in (0, 1))
    assert frozen_by(monkeypatch, "block_0") == first | second
    assert frozen_by(monkeypatch, "block_0_1") == second
    # Not block_10.
    assert frozen_by(monkeypatch, "block_1") == {f"block_1_0_{part}" for part in parts}


@pytest.mark.any_backend
def test_what_can_be_frozen_is_listed_in_short(monkeypatch):
    message = (
        r"layers of the model: backbone, stem_conv, stem_norm, block_0, block_1, logits\. "
        r"Received: block_2, stem_c\.$"
    )
    with pytest.raises(InputError, match=message):
        freeze(small_resnet(monkeypatch), ("block_2", "stem_c", "stem"))
