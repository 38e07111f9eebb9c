"""A web page on which trained models classify the images that a visitor gives them.

The page loads nothing from elsewhere, and the server connects to nowhere.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import gradio as gr
import keras
import numpy as np
from gradio_client.utils import is_http_url_like
from matplotlib import colormaps
from PIL import Image
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware

from small_vit.data.image_files import decode_image, fit_image, why_unreadable
from small_vit.errors import InputError
from small_vit.layers.transformer_block import transformer_blocks
from small_vit.plots.attention import attention_received, attention_rollout, attention_scores
from small_vit.results.saved_model import (
    about_model,
    class_probabilities,
    kind_of_outputs,
    load_model,
)

LARGEST_FILE = 10 * 2**20
"""Bytes of an upload; larger ones are refused before they are read."""
MOST_SHOWN = 5
"""Classes in an answer."""
SHOWN_SIZE = 320
"""Pixels of the longer side of a picture of attention."""
CACHE_SECONDS = 3600
"""How long the server keeps the images it was given."""
ONLY_FROM_HERE = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"
"""Content security policy: a browser loads nothing from another server for the page."""
CSS = """
main.contain, main.fillable {width: 100% !important; max-width: 900px !important}
main.contain, main.fillable {margin: auto !important}
@media (max-width: 600px) {main.contain, main.fillable {padding: 8px !important}}
#image img {width: 100%; height: 100%; object-fit: contain}
"""


@dataclass(frozen=True, eq=False)
class DemoModel:
    """A trained model, and what is needed to give it an image file.

    Attributes:
        title: Its heading on the page.
        model: `keras.Model` from images to logits or probabilities.
        class_names: Name of class 0, 1, …
        kind: "logits" or "probabilities": what it outputs.
        fit: How an image becomes its size (`DataConfig.fit`).
    """

    title: str
    model: keras.Model
    class_names: list[str]
    kind: str
    fit: str

    @classmethod
    def from_run(cls, path):
        """Load the model of a run, and use it once: the first time takes seconds.

        Args:
            path: Run directory or `.keras` file.

        Raises:
            InputError: if there is no model that classifies images.
        """
        model, names = load_model(path)
        fit = about_model(path).get("fit", "crop")
        loaded = cls(Path(path).resolve().name, model, names, kind_of_outputs(model), fit)
        loaded.answer(np.zeros(model.input_shape[1:], "uint8"))
        return loaded

    @property
    def has_attention(self):
        """Whether the model has attention to show."""
        return bool(transformer_blocks(self.model))

    def read(self, path):
        """Read an image file as the model takes it.

        Args:
            path: The file.

        Returns:
            uint8 `(height, width, channels)`.

        Raises:
            InputError: if it cannot be read as an image; the message names no folder.
        """
        path = Path(path)
        size, channels = self.model.input_shape[1:3], self.model.input_shape[3]
        try:
            return fit_image(decode_image(path.read_bytes(), size, channels), size, self.fit)
        except Exception as error:  # Pillow raises errors of many types.
            raise InputError(
                f"{path.name} cannot be used: {why_unreadable(path, error)}. Choose a JPEG, PNG, "
                "WebP, GIF, BMP or TIFF image."
            ) from error

    def answer(self, image):
        """Return what the page shows about an image.

        Args:
            image: From `read`.

        Returns:
            A list: the probability of each class by its name; for a model with attention also
            `attention_picture`.
        """
        outputs = self.model.predict_on_batch(image[np.newaxis])
        (probabilities,) = class_probabilities(outputs, self.kind)
        shown = [dict(zip(self.class_names, probabilities.tolist(), strict=True))]
        return [*shown, attention_picture(self.model, image)] if self.has_attention else shown


def attention_picture(model, image):
    """Return a picture of where a model looks: the attention rollout over a pale image.

    Args:
        model: `keras.Model` with `TransformerBlock`s.
        image: uint8, of the shape that the model takes.

    Returns:
        uint8 `(height, width, 3)`, the longer side `SHOWN_SIZE`. Bright places receive most.

    Source: Abnar and Zuidema, arXiv 2005.00928, section 3.
    """
    encoder = model.get_layer("encoder")
    rollout = attention_rollout(attention_scores(model, image[np.newaxis]))[0]
    received = attention_received(rollout, encoder.class_token).reshape(encoder.num_patches)
    received = (received - received.min()) / max(np.ptp(received), 1e-12)

    height, width = image.shape[:2]
    scale = SHOWN_SIZE / max(height, width)
    size = round(width * scale), round(height * scale)
    grey = Image.fromarray(image.mean(axis=-1).astype("uint8")).resize(size)
    pale = 0.3 + 0.7 * np.asarray(grey)[..., np.newaxis] / 255
    heat = Image.fromarray(received.astype("float32")).resize(size, Image.Resampling.BILINEAR)
    colors = colormaps["inferno"](np.asarray(heat))[..., :3]
    return np.round(255 * (0.45 * pale + 0.55 * colors)).astype("uint8")


def classify(models, upload):
    """Return what the page shows for an upload.

    Args:
        models: List of `DemoModel`.
        upload: Dict with the `path` of a file; None for none.

    Returns:
        What each of the models answers, one after the other; without a file None in each place.

    Raises:
        gradio.Error: with one line for the visitor, if the file is no image.
    """
    if upload is None:
        return [None for model in models for _ in range(1 + model.has_attention)]
    try:
        return [part for model in models for part in model.answer(model.read(upload["path"]))]
    except InputError as error:
        raise gr.Error(str(error), print_exception=False) from None


def build_page(models, samples=()):
    """Build the page.

    Args:
        models: List of `DemoModel`, shown side by side, on a narrow screen one below the other.
        samples: Image files that a visitor can choose. Default: none.

    Returns:
        `gradio.Blocks`, for `serve`.
    """
    cache = (CACHE_SECONDS, CACHE_SECONDS)
    with gr.Blocks(title="small_vit", analytics_enabled=False, delete_cache=cache) as page:
        sources = ["upload", "clipboard"]
        image = gr.Image(label="Image", sources=sources, height=260, elem_id="image")
        # Not a subclass: for one Gradio writes a file beside this module.
        image.async_move_resource_to_block_cache = _refuse_addresses(
            image.async_move_resource_to_block_cache
        )
        if samples:
            files = [[str(path)] for path in samples]
            gr.Examples(files, image, label="Or one of the run's test images", elem_id="samples")
        outputs = []
        with gr.Row():
            for model in models:
                with gr.Column(min_width=280):
                    outputs += _answer_of(model)
        # Without `preprocess` the file comes as it was uploaded; Gradio has no words for a file
        # that is no image.
        image.change(
            partial(classify, models), image, outputs, preprocess=False, api_name="classify"
        )
    return page


def _refuse_addresses(keep):
    """Wrap Gradio's function that keeps an upload: it would also fetch what a client links to."""

    async def keep_upload(file):
        if is_http_url_like(file):
            raise gr.Error("Upload the image: addresses are not opened.", print_exception=False)
        return await keep(file)

    return keep_upload


def _answer_of(model):
    """Add a model's part of the page; return the components that show its answer."""
    parts = [gr.Label(label=model.title, num_top_classes=MOST_SHOWN)]
    if model.has_attention:
        parts.append(gr.Image(label="Where it looks", interactive=False, buttons=[], height=320))
    return parts


def serve(page, host="127.0.0.1", port=None):
    """Start the server of a page, and return at once.

    Args:
        page: From `build_page`.
        host: Address to listen on. Default: this machine alone can reach it.
        port: Port. Default: the first free one from 7860 on.

    Returns:
        The page's address; `page.block_thread()` waits until the server is stopped.

    Raises:
        InputError: if the server cannot listen there.
    """
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    try:
        _, url, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            max_file_size=LARGEST_FILE,
            theme=gr.themes.Default(**fonts),
            css=CSS,
            app_kwargs={"middleware": [Middleware(BaseHTTPMiddleware, dispatch=_only_from_here)]},
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError as error:
        where = host if port is None else f"{host}, port {port}"
        raise InputError(
            f"The server cannot listen on {where}: {error}. Choose another --port or --host."
        ) from error
    return url


async def _only_from_here(request, call_next):
    response = await call_next(request)
    response.headers["Content-Security-Policy"] = ONLY_FROM_HERE
    return response
