"""The page that classifies images: its answers, what it refuses, and its server."""

import io
import socket

import keras
import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image
from scipy.special import softmax

pytest.importorskip("gradio")
import gradio as gr
from gradio_client import Client, handle_file

from small_vit.cli import demo as command
from small_vit.data import Dataset, Split
from small_vit.deploy.demo import SHOWN_SIZE, DemoModel, attention_picture, build_page, classify
from small_vit.deploy.demo import serve as start
from small_vit.deploy.samples import write_samples
from small_vit.errors import InputError
from tiny import tiny_classifier

pytestmark = pytest.mark.any_backend

NAMES = [f"name {label}" for label in range(10)]


@pytest.fixture(scope="module")
def shown():
    """A tiny model with attention, as the page has it."""
    return DemoModel("tiny", tiny_classifier(), NAMES, "logits", "crop")


@pytest.fixture
def photo(tmp_path):
    """A grey picture of the model's size: its path and pixels `(8, 8, 1)`."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    return path, pixels[..., np.newaxis]


def without_attention():
    model = keras.Sequential(
        [keras.Input((8, 6, 3)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")]
    )
    return DemoModel("plain", model, ["cat", "dog"], "probabilities", "pad")


def test_each_model_answers_with_probabilities_by_name_and_its_attention(shown, photo):
    path, pixels = photo
    other = without_attention()
    probabilities, picture, plain = classify([shown, other], {"path": str(path)})
    expected = softmax(shown.model.predict_on_batch(pixels[np.newaxis])[0])
    assert list(probabilities) == NAMES
    np.testing.assert_allclose(list(probabilities.values()), expected, atol=1e-6)
    assert (picture.shape, picture.dtype) == ((SHOWN_SIZE, SHOWN_SIZE, 3), np.uint8)
    assert list(plain) == ["cat", "dog"] and sum(plain.values()) == pytest.approx(1, abs=1e-5)
    assert classify([shown, other], None) == [None, None, None]


def test_the_picture_is_the_rollout_in_colours_over_the_pale_image(shown, monkeypatch):
    received = np.array([0, 1, 2, 14.0])  # Of 2 × 2 patches.
    monkeypatch.setattr("small_vit.deploy.demo.attention_received", lambda *_: received)
    picture = attention_picture(shown.model, np.full((8, 8, 1), 255, "uint8"))
    for corner, value in (((0, 0), 0.0), ((-1, -1), 1.0)):
        color = 255 * (0.45 + 0.55 * np.array(colormaps["inferno"](value)[:3]))
        np.testing.assert_allclose(picture[corner], color, atol=1)


def test_even_attention_makes_a_picture_too(shown, monkeypatch):
    monkeypatch.setattr("small_vit.deploy.demo.attention_received", lambda *_: np.ones(4))
    assert np.isfinite(attention_picture(shown.model, np.zeros((8, 8, 1), "uint8"))).all()


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"<svg/>", "it is no image"), (b"", "it is empty"), (None, "decompression bombs")],
)
def test_a_file_that_is_no_image_is_one_line_without_a_folder(
    content, reason, shown, tmp_path, monkeypatch
):
    if content is None:
        buffer = io.BytesIO()
        Image.new("L", (64, 64)).save(buffer, "PNG")
        content = buffer.getvalue()
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    path = tmp_path / "my photo.png"
    path.write_bytes(content)
    with pytest.raises(gr.Error) as error:
        classify([shown], {"path": str(path)})
    message = error.value.message
    assert message.startswith("my photo.png cannot be used: ") and reason in message
    assert str(tmp_path) not in message and "\n" not in message


def test_samples_are_of_as_many_classes_as_possible(tmp_path):
    images = np.arange(8, dtype=np.uint8).reshape(8, 1, 1, 1) * np.ones((1, 2, 3, 1), np.uint8)
    split = Split(images, np.array([0, 0, 0, 0, 0, 1, 2, 2], np.int32))
    dataset = Dataset("made up", split, split, ("a", "b", "c"))
    for count, levels in ((1, [0]), (2, [0, 6]), (5, [0, 1, 5, 6, 7]), (99, list(range(8)))):
        samples = write_samples(dataset, tmp_path / str(count), count)
        assert [int(np.asarray(Image.open(path))[0, 0]) for path, _ in samples] == levels
        names = [name for _, name in samples]
        assert names == ["aaaaabcc"[level] for level in levels]


def test_the_page_has_an_upload_and_a_part_for_each_model(shown, photo):
    page = build_page([shown, without_attention()], [photo[0]])
    kinds = [type(block).__name__ for block in page.blocks.values()]
    assert kinds.count("Label") == 2 and kinds.count("Image") == 2 and "Dataset" in kinds
    assert not page.analytics_enabled


def test_the_server_answers_and_loads_nothing_from_elsewhere(shown, photo, tmp_path):
    import httpx  # Comes with Gradio.

    path, _ = photo
    page = build_page([shown], [path])
    url = start(page)
    try:
        assert url.startswith("http://127.0.0.1:")
        policy = httpx.get(url).headers["content-security-policy"]
        assert policy.startswith("default-src 'self'") and "http" not in policy
        client = Client(url, verbose=False)
        answered, _ = client.predict(handle_file(path), api_name="/classify")
        expected, _ = classify([shown], {"path": str(path)})
        assert answered["label"] == max(expected, key=expected.get)
        shares = [each["confidence"] for each in answered["confidences"]]
        np.testing.assert_allclose(shares, sorted(expected.values())[: -1 - 5 : -1], atol=1e-6)
        (tmp_path / "no.png").write_text("no image")
        with pytest.raises(Exception, match=r"no\.png cannot be used: it is no image"):
            client.predict(handle_file(tmp_path / "no.png"), api_name="/classify")
        with pytest.raises(Exception, match="addresses are not opened"):
            client.predict(handle_file("http://example.org/photo.png"), api_name="/classify")
        upload = {"files": ("large.png", bytes(page.max_file_size + 1))}
        assert httpx.post(f"{url}gradio_api/upload", files=upload).status_code == 413
    finally:
        page.close(verbose=False)


def test_a_port_in_use_is_one_message(shown):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"cannot listen on 127.0.0.1, port {port}.*--port"):
            start(build_page([shown]), port=port)


def test_the_command_shows_test_images_and_says_where_the_page_is(run, monkeypatch, capsys):
    shown = {}

    def serve(page, host, port):
        shown.update(page=page, host=host, port=port)
        page.block_thread = lambda: None
        return "http://127.0.0.1:1234/"

    monkeypatch.setattr("small_vit.deploy.demo.serve", serve)
    monkeypatch.setenv("GRADIO_TEMP_DIR", "as before")
    assert command.main([str(run), "--compare", str(run), "--port", "1234"]) == 0
    assert "Open http://127.0.0.1:1234/ in a browser" in capsys.readouterr().out
    assert (shown["host"], shown["port"]) == ("127.0.0.1", 1234)
    (examples,) = (b for b in shown["page"].blocks.values() if type(b).__name__ == "Dataset")
    assert len(examples.samples) == command.SAMPLES


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--port", "0"], "--port must be from 1"), (["--compare", "nowhere"], "There is no nowhere")],
)
def test_bad_input_is_one_message(arguments, message, run, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main([str(run), *arguments])
    assert stop.value.code == 2 and message in capsys.readouterr().err
