"""A small Vision Transformer with random weights in a folder as transformers saves it.

Its config, its processor and its logits are in `SAVED`, written by `make_transformers_logits.py`.
"""

import json
import shutil
from pathlib import Path

import numpy as np

SAVED = Path(__file__).parent / "transformers_vit"
SIZE, PATCH, DIM, HIDDEN, LAYERS, HEADS = 8, 4, 12, 20, 2, 3
EPSILON = 1e-3
NAMES = ["newt", "cat", "dog"]
MEAN, DEVIATION = np.array([0.4, 0.5, 0.6]), np.array([0.2, 0.3, 0.25])


def random_weights():
    """Values by the names that transformers gives them in a file."""
    rng = np.random.default_rng(0)
    return {name: rng.normal(scale=0.4, size=shape).astype("float32") for name, shape in _shapes()}


def images_of(size=SIZE, channels=3):
    """Three raw images."""
    shape = (3, size, size, channels)
    return np.random.default_rng(1).integers(0, 256, shape, dtype="uint8")


def write_checkpoint(folder, **changes):
    """Write the checkpoint, with these changes to its config.json; return the folder's name."""
    from safetensors.numpy import save_file

    folder.mkdir(exist_ok=True)
    config = json.loads((SAVED / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    shutil.copy(SAVED / "preprocessor_config.json", folder)
    save_file(random_weights(), folder / "model.safetensors", {"format": "pt"})
    return str(folder)


def _shapes():
    embeddings = "vit.embeddings."
    yield f"{embeddings}cls_token", (1, 1, DIM)
    yield f"{embeddings}position_embeddings", (1, (SIZE // PATCH) ** 2 + 1, DIM)
    yield f"{embeddings}patch_embeddings.projection.weight", (DIM, 3, PATCH, PATCH)
    yield f"{embeddings}patch_embeddings.projection.bias", (DIM,)
    for layer in range(LAYERS):
        prefix = f"vit.encoder.layer.{layer}."
        for name in ("query", "key", "value"):
            yield from _dense(f"{prefix}attention.attention.{name}", DIM, DIM)
        yield from _dense(f"{prefix}attention.output.dense", DIM, DIM)
        yield from _dense(f"{prefix}intermediate.dense", DIM, HIDDEN)
        yield from _dense(f"{prefix}output.dense", HIDDEN, DIM)
        for name in ("layernorm_before", "layernorm_after"):
            yield f"{prefix}{name}.weight", (DIM,)
            yield f"{prefix}{name}.bias", (DIM,)
    yield "vit.layernorm.weight", (DIM,)
    yield "vit.layernorm.bias", (DIM,)
    yield from _dense("classifier", DIM, len(NAMES))


def _dense(name, inputs, outputs):
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)
