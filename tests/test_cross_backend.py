"""One saved model, two backends, the same logits."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from layer_harness import BACKEND, close, normal, randomize, to_numpy
from tiny import tiny_classifier

pytestmark = pytest.mark.any_backend

PREDICT = """
import sys
from pathlib import Path
import numpy as np
import small_vit
import keras

folder = Path(sys.argv[1])
assert keras.backend.backend() == sys.argv[2]
for path in folder.glob("*.keras"):
    logits = keras.saving.load_model(path).predict(np.load(folder / "images.npy"), verbose=0)
    np.save(path.with_suffix(".npy"), logits)
"""

OTHERS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            importlib.util.find_spec(name) is None, reason=f"{name} is not installed"
        ),
    )
    for name in ("tensorflow", "jax", "torch")
    if name != BACKEND
]
MODELS = {
    "vanilla": {"vanilla": True},
    "spt+lsa": {},
    "paper": {
        "position_embedding": "sincos2d",
        "pooling": "class_token",
        "temperature": "head",
        "temperature_form": "multiplier",
        "qkv_bias": False,
    },
}


@pytest.mark.parametrize("other", OTHERS)
def test_same_weights_give_the_same_logits(other, tmp_path):
    models = {name: make(**fields) for name, fields in MODELS.items()}
    for name, model in models.items():
        model.save(tmp_path / f"{name}.keras")
    images = normal((3, 8, 8, 3))
    np.save(tmp_path / "images.npy", images)

    root = Path(__file__).parents[1]
    subprocess.run(
        [sys.executable, "-c", PREDICT, tmp_path, other],
        env={
            **os.environ,
            "KERAS_BACKEND": other,
            "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]),
        },
        check=True,
    )

    for name, model in models.items():
        close(np.load(tmp_path / f"{name}.npy"), to_numpy(model(images, training=False)))


def make(**fields):
    small = {"image_size": 12, "num_layers": 2, "pooling": "flatten", "head_units": (6,)}
    return randomize(tiny_classifier((8, 8, 3), 5, **(small | fields)))
