"""One saved model, two backends, the same logits."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from layer_harness import BACKEND, close, normal, randomize, to_numpy
from small_vit import create_vit_classifier

pytestmark = pytest.mark.any_backend

PREDICT = """
import sys
import numpy as np
import small_vit
import keras

assert keras.backend.backend() == sys.argv[3]
logits = keras.saving.load_model(sys.argv[1]).predict(np.load(sys.argv[2]), verbose=0)
np.save(sys.argv[2], logits)
"""

OTHERS = [
    name
    for name in ("tensorflow", "jax", "torch")
    if name != BACKEND and importlib.util.find_spec(name) is not None
]


@pytest.mark.parametrize("vanilla", [True, False], ids=["vanilla", "spt+lsa"])
@pytest.mark.parametrize("other", OTHERS)
def test_same_weights_give_the_same_logits(other, vanilla, tmp_path):
    model = create_vit_classifier(
        vanilla=vanilla,
        input_shape=(8, 8, 3),
        num_classes=5,
        image_size=12,
        patch_size=4,
        projection_dim=8,
        num_layers=2,
        num_heads=2,
        key_dim=4,
        head_units=(6,),
    )
    randomize(model)
    images = normal((3, 8, 8, 3))
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)

    root = Path(__file__).parents[1]
    subprocess.run(
        [sys.executable, "-c", PREDICT, tmp_path / "model.keras", tmp_path / "images.npy", other],
        env={
            **os.environ,
            "KERAS_BACKEND": other,
            "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]),
        },
        check=True,
    )

    close(np.load(tmp_path / "images.npy"), to_numpy(model(images, training=False)))
