"""Presets of keras-hub against an independent forward pass, offline."""

import json
import logging
import random
import sys

import numpy as np
import pytest
from scipy.special import erf, softmax
from transformers_checkpoint import (
    DEVIATION,
    DIM,
    EPSILON,
    HEADS,
    HIDDEN,
    LAYERS,
    MEAN,
    NAMES,
    PATCH,
    SAVED,
    SIZE,
    images_of,
    random_weights,
    write_checkpoint,
)

from layer_harness import close_layer_by_layer, logits_of, to_numpy
from small_vit.config import ExperimentConfig
from small_vit.errors import InputError
from small_vit.models.registry import (
    backbone_and_head,
    build_classifier,
    count_multiply_adds,
    model_config,
    named_model,
)
from small_vit.recipes import RECIPES


@pytest.fixture(scope="module")
def weights():
    return random_weights()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The folder of the checkpoint."""
    pytest.importorskip("keras_hub")
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


class Reference:
    """The Vision Transformer of transformers in NumPy (Dosovitskiy et al., equations 1 to 4)."""

    def __init__(self, weights):
        self.weights = weights

    def outputs(self, images):
        """Pairs of a layer's name and its output for raw images `(batch, size, size, 3)`."""
        x = self.embedded((images / 255 - MEAN) / DEVIATION)
        yield "encoder", x
        for layer in range(LAYERS):
            prefix = f"vit.encoder.layer.{layer}"
            x = x + self.attention(self.norm(x, f"{prefix}.layernorm_before"), prefix)
            y = self.dense(
                self.norm(x, f"{prefix}.layernorm_after"), f"{prefix}.intermediate.dense"
            )
            x = x + self.dense(y * (1 + erf(y / np.sqrt(2))) / 2, f"{prefix}.output.dense")
            yield f"block_{layer}", x
        x = self.norm(x, "vit.layernorm")
        yield "norm", x
        yield "pooling", x[:, 0]
        yield "logits", self.dense(x[:, 0], "classifier")

    def embedded(self, images):
        prefix = "vit.embeddings"
        kernel = self.weights[f"{prefix}.patch_embeddings.projection.weight"]
        tokens = [np.repeat(self.weights[f"{prefix}.cls_token"], len(images), axis=0)]
        for row in range(0, SIZE, PATCH):
            for column in range(0, SIZE, PATCH):
                patch = images[:, row : row + PATCH, column : column + PATCH]
                token = np.einsum("bhwc,dchw->bd", patch, kernel)
                tokens.append(
                    token[:, None] + self.weights[f"{prefix}.patch_embeddings.projection.bias"]
                )
        return np.concatenate(tokens, axis=1) + self.weights[f"{prefix}.position_embeddings"]

    def attention(self, x, prefix):
        query, key, value = (
            self.dense(x, f"{prefix}.attention.attention.{name}").reshape(*x.shape[:2], HEADS, -1)
            for name in ("query", "key", "value")
        )
        scores = np.einsum("bqhd,bkhd->bhqk", query, key) / np.sqrt(DIM // HEADS)
        mixed = np.einsum("bhqk,bkhd->bqhd", softmax(scores, axis=-1), value)
        return self.dense(mixed.reshape(x.shape), f"{prefix}.attention.output.dense")

    def dense(self, x, name):
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt(x.var(-1, keepdims=True) + EPSILON)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def pretrained(preset, image_shape=(SIZE, SIZE, 3), classes=5, **fields):
    fields = {"image_size": SIZE} | fields
    return build_classifier(
        model_config("pretrained", preset=preset, **fields), image_shape, classes
    )


def features(model, images):
    return to_numpy(backbone_and_head(model)[0](images))


def test_each_layer_and_the_classes_are_those_of_the_checkpoint(checkpoint, weights):
    from small_vit.models.pretrained.build import pretrained_classifier

    classifier, names = pretrained_classifier(checkpoint)
    images = images_of()
    of_transformers = np.loadtxt(SAVED / "logits.csv", delimiter=",")
    np.testing.assert_allclose(logits_of(classifier, images), of_transformers, rtol=0, atol=2e-5)
    close_layer_by_layer(classifier, images, Reference(weights).outputs(images))
    assert names == NAMES


def test_logits_are_those_of_a_preset_that_keras_hub_saved(tmp_path):
    keras_hub = pytest.importorskip("keras_hub")
    from small_vit.models.pretrained.build import pretrained_classifier

    task = keras_hub.models.ViTImageClassifier(
        keras_hub.models.ViTBackbone((SIZE, SIZE, 3), PATCH, 1, HEADS, DIM, HIDDEN),
        num_classes=4,
        preprocessor=keras_hub.models.ViTImageClassifierPreprocessor(
            keras_hub.layers.ViTImageConverter((SIZE, SIZE), [0.01, 0.02, 0.03], offset=-1.0)
        ),
    )
    rng = np.random.default_rng(0)
    task.set_weights([rng.normal(scale=0.3, size=each.shape) for each in task.weights])
    task.save_to_preset(str(tmp_path))

    classifier, names = pretrained_classifier(str(tmp_path))
    prepared = task.preprocessor(images_of())
    np.testing.assert_allclose(
        to_numpy(classifier(images_of())), to_numpy(task(prepared)), atol=1e-4
    )
    assert names == ["class 0", "class 1", "class 2", "class 3"]


def test_a_new_head_finds_all_classes_equally_probable(checkpoint):
    model = pretrained(checkpoint)
    assert model.output_shape == (None, 5)
    assert not to_numpy(model(images_of())).any()


def test_a_trained_model_holds_nothing_of_keras_hub(checkpoint):
    assert "keras_hub" not in json.dumps(pretrained(checkpoint).get_config())


def test_grey_images_are_seen_as_colour_with_equal_channels(checkpoint):
    grey = images_of(channels=1)
    seen = features(pretrained(checkpoint, (SIZE, SIZE, 1)), grey)
    expected = features(pretrained(checkpoint), grey.repeat(3, axis=-1))
    np.testing.assert_allclose(seen, expected, atol=1e-4)


def test_positions_are_interpolated_for_another_size(checkpoint, weights):
    model = pretrained(checkpoint, image_size=(3 * PATCH, SIZE))
    (positions,) = (
        to_numpy(each)
        for each in model.get_layer("encoder").weights
        if each.name == "position_embedding"
    )
    first, top, bottom = np.split(weights["vit.embeddings.position_embeddings"][0], [1, 3])
    expected = np.concatenate([first, top, (top + bottom) / 2, bottom])
    np.testing.assert_allclose(positions, expected, atol=1e-5)


def test_its_work_is_that_of_the_same_vit(checkpoint):
    config = model_config("pretrained", preset=checkpoint, image_size=16)
    same = model_config(
        "vit",
        image_size=16,
        patch_size=PATCH,
        shifts="none",
        projection_dim=DIM,
        num_layers=LAYERS,
        num_heads=HEADS,
        key_dim=DIM // HEADS,
        mlp_ratio=HIDDEN / DIM,
        pooling="class_token",
        head_units=(),
    )
    shape = (32, 32, 3)
    assert count_multiply_adds(config, shape, 7) == count_multiply_adds(same, shape, 7)


def test_what_a_run_draws_does_not_depend_on_what_was_loaded_before(checkpoint):
    from small_vit.models.pretrained.preset import read_preset

    def drawn():
        random.seed(0)
        pretrained(checkpoint)
        return random.random()

    read_preset.cache_clear()
    assert drawn() == drawn()


def test_its_head_alone_trains_from_one_command(checkpoint, weights, tmp_path, without_reports):
    from small_vit.cli import train
    from small_vit.results.saved_model import load_model

    options = "--recipe digits --model pretrained --freeze backbone --epochs 1 --batch-size 60"
    run = tmp_path / "run"
    fewer = "--train-examples 60 --validation-split none --image-size 8 --preset"
    arguments = [*options.split(), *fewer.split(), checkpoint]
    assert train.main([*arguments, "--out", str(run)]) == 0
    config = ExperimentConfig.from_dict(json.loads((run / "config.json").read_text()))
    assert (config.arm, config.model.preset) == ("pretrained", checkpoint)
    model, names = load_model(run)
    assert to_numpy(model.get_layer("logits").kernel).any()
    norm = to_numpy(model.get_layer("norm").gamma)
    np.testing.assert_array_equal(norm, weights["vit.layernorm.weight"])
    assert len(names) == 10


@pytest.fixture
def refused(capfd):
    """Returns the message with which a preset is refused."""
    pytest.importorskip("keras_hub")

    def message(preset):
        with pytest.raises(InputError) as caught:
            pretrained(preset)
        return str(caught.value)

    return message


@pytest.mark.any_backend
@pytest.mark.parametrize("preset", ["no_such_preset", "bert_tiny_en_uncased"])
def test_a_name_that_is_no_vision_transformer_is_refused(refused, preset, no_network):
    message = refused(preset)
    assert message.startswith(f"The preset '{preset}' cannot be loaded. Name a preset of")
    if preset == "no_such_preset":
        assert message.endswith(" The reason was ValueError: Unknown preset identifier.")


@pytest.fixture
def no_network(monkeypatch):
    """Downloads fail, and nothing is in a cache."""

    def unreachable(*arguments, **options):
        raise ConnectionError("Name or service not known")

    def unreachable_often(*arguments, **options):
        logging.getLogger("huggingface_hub.utils._http").warning("Retrying in 1s [Retry 1/5].")
        unreachable()

    monkeypatch.setattr("kagglehub.model_download", unreachable)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", unreachable_often)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    "preset", ["vit_base_patch16_224_imagenet", "hf://google/vit-base-patch16-224"]
)
def test_without_network_and_cache_one_error_says_what_to_do(refused, preset, no_network, capfd):
    message = refused(preset)
    assert "Retrying" not in capfd.readouterr().err
    assert "hf://google/vit-base-patch16-224) or the folder of one" in message
    reason = "The reason was ConnectionError: Name or service not known."
    assert message.endswith(f"needs the network. {reason}")
    assert "\n" not in message


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "bert"}, "cannot be loaded"),
        ({"model_type": "unheard"}, "no converter"),
        ({"hidden_act": "relu"}, "another kind"),
        ({"qkv_bias": False}, "another kind"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(refused, tmp_path, changes, reason):
    assert reason in refused(write_checkpoint(tmp_path, **changes))


@pytest.mark.any_backend
def test_a_checkpoint_without_its_processor_is_refused(refused, tmp_path):
    write_checkpoint(tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    assert "preprocessor_config.json" in refused(str(tmp_path))


@pytest.mark.any_backend
def test_a_damaged_or_empty_folder_is_refused(refused, tmp_path):
    assert "no config.json" in refused(str(tmp_path))
    write_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    assert "cannot be loaded" in refused(str(tmp_path))


@pytest.mark.any_backend
def test_without_keras_hub_the_extra_is_named(monkeypatch):
    from small_vit.models.pretrained.preset import read_preset

    read_preset.cache_clear()
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(InputError, match=r"pip install -e '\.\[pretrained\]'"):
        pretrained("vit_base_patch16_224_imagenet")


@pytest.mark.any_backend
def test_a_folder_is_found_from_other_folders_too(tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    monkeypatch.chdir(tmp_path)
    config = model_config("pretrained", preset="weights")
    assert config.preset == str(tmp_path / "weights")
    assert named_model("Pretrained").preset == "vit_base_patch16_224_imagenet"
    with pytest.raises(InputError, match="preset must be"):
        model_config("pretrained", preset="")


@pytest.mark.any_backend
def test_the_recipe_pets_is_the_published_fine_tuning():
    config = RECIPES["pets"]()
    train, data = config.train, config.data
    assert config.model.preset == "hf://google/vit-base-patch16-224"
    assert (data.test_fraction, data.validation_fraction) == (0.1, 0.1)
    assert (train.learning_rate, train.batch_size, train.epochs) == (2e-4, 16, 5)
    steps = -(-(7390 * 8 // 10) // train.batch_size)
    assert steps == 370
