"""Publishing and loading, against a hub on this machine and folders."""

import json
import socket
import sys

import keras
import numpy as np
import pytest
from hub_server import Hub

pytest.importorskip("huggingface_hub")
from huggingface_hub import ModelCard, constants
from numpy.testing import assert_array_equal

import small_vit
from small_vit.cli import push as command
from small_vit.deploy.hub import push, write_files
from small_vit.errors import InputError
from small_vit.results.saved_model import load_model

pytestmark = pytest.mark.any_backend

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
LAYOUT = {"config.json", "metadata.json", "model.weights.h5", "small_vit.json", "classes.json"}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that the client is logged in to, and an empty cache."""
    server = Hub()
    # The client reads HF_ENDPOINT once, when Keras imports it.
    files = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "hf_made_up")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(run, tmp_path):
    """The run's files as they lie on a hub."""
    path = tmp_path / "unpacked"
    path.mkdir()
    write_files(run, path, "someone/tiny")
    return path


def same_outputs(model, other):
    assert_array_equal(model.predict_on_batch(IMAGES), other.predict_on_batch(IMAGES))


def test_what_is_pushed_is_loaded_by_small_vit_and_by_keras_alone(run, hub):
    assert push(run, "someone/tiny", license="mit", samples=2) == f"{hub.url}/someone/tiny"
    files = hub.files["someone/tiny"]
    assert set(files) == LAYOUT | {"README.md", "samples/1.png", "samples/2.png"}
    assert ModelCard(files["README.md"].decode()).data.license == "mit"

    model, names = small_vit.load("hf://someone/tiny")
    before, names_before = load_model(run)
    assert names == names_before
    same_outputs(model, before)
    same_outputs(keras.saving.load_model("hf://someone/tiny"), before)


def test_the_command_makes_a_private_repository_and_replaces_only_if_told(run, hub, capsys):
    arguments = [str(run), "someone/tiny", "--private"]
    assert command.main(arguments) == 0
    assert 'small_vit.load("hf://someone/tiny")' in capsys.readouterr().out
    (asked,) = hub.created
    assert asked.get("private") or asked.get("visibility") == "private"

    hub.files["someone/tiny"]["classes.json"] = b"older"
    with pytest.raises(SystemExit) as stop:
        command.main(arguments)
    assert stop.value.code == 2 and "exists already" in capsys.readouterr().err
    assert hub.files["someone/tiny"]["classes.json"] == b"older"
    assert command.main([*arguments, "--replace"]) == 0
    assert hub.files["someone/tiny"]["classes.json"] != b"older"


def test_local_runs_files_and_folders_load_alike(run, folder):
    before, names = load_model(run)
    for path in (run, str(run / "model.keras"), folder):
        model, found = small_vit.load(path)
        assert found == names
        same_outputs(model, before)
    same_outputs(keras.saving.load_model(folder), before)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "Your token is not valid"),
        (403, "no right to someone/tiny"),
        (418, "refused someone/tiny with status 418"),
    ],
)
def test_a_refusal_is_one_message(status, message, run, hub):
    hub.refusal = status
    for call in (lambda: push(run, "someone/tiny"), lambda: small_vit.load("hf://someone/tiny")):
        with pytest.raises(InputError, match=message):
            call()


def test_without_a_token_nothing_is_sent(run, hub, monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"no token.*hf auth login"):
        push(run, "someone/tiny")
    assert not hub.created


def test_without_network_is_one_message(run, hub, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", nowhere)
    for call in (lambda: push(run, "someone/tiny"), lambda: small_vit.load("hf://someone/tiny")):
        with pytest.raises(InputError, match=f"{nowhere} cannot be reached"):
            call()


def test_no_such_repository_is_one_message(hub):
    with pytest.raises(InputError, match="has no someone/else that you may see"):
        small_vit.load("hf://someone/else")


@pytest.mark.parametrize("name", ["tiny", "a/b/c", "some one/x", "/", "../x"])
def test_a_name_is_checked_before_anything_is_sent(name, run, hub):
    for call in (lambda: push(run, name), lambda: small_vit.load(f"hf://{name}")):
        with pytest.raises(InputError, match="is named OWNER/NAME"):
            call()
    assert not hub.created


def test_a_repository_of_another_kind_is_one_message(hub):
    hub.files["someone/other"] = {"pytorch_model.bin": b"", "config.json": b"{}"}
    with pytest.raises(
        InputError, match=r"hf://someone/other holds no Keras model: metadata\.json"
    ):
        small_vit.load("hf://someone/other")


def poison(folder, layer):
    """Put a layer behind the model that lies in a folder."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    last = config["config"]["layers"][-1]
    last.update(layer)
    path.write_text(json.dumps(config))


@pytest.mark.parametrize("kind", ["lambda", "module"])
def test_nothing_is_executed_on_loading(kind, folder, monkeypatch):
    ran = []
    monkeypatch.setattr("webbrowser.open", ran.append)
    if kind == "lambda":
        layer = keras.layers.Lambda(lambda x: ran.append(x) or x)
        poison(folder, keras.saving.serialize_keras_object(layer))
    else:
        poison(
            folder,
            {"module": "webbrowser", "class_name": "open", "registered_name": None, "config": {}},
        )
    with pytest.raises(InputError, match=f"{folder} is no saved model"):
        small_vit.load(folder)
    assert not ran


def test_without_the_client_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"pip install -e '\.\[hub\]'"):
        small_vit.load("hf://someone/tiny")
