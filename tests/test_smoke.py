"""The whole way once, on any backend: import, build, train, save, load."""

import keras
import numpy as np

import small_vit
from layer_harness import close, normal, to_numpy
from tiny import tiny_classifier


def test_model_trains_saves_and_loads(tmp_path):
    model = tiny_classifier(
        input_shape=(8, 8, 3),
        num_classes=4,
        pooling="class_token",
        stochastic_depth=0.1,
        augmentation=small_vit.RandomAffine(translation=0.1, seed=0),
    )
    images, labels = normal((8, 8, 8, 3)), np.arange(8) % 4
    model.get_layer("normalization").adapt(images)
    model.compile(
        small_vit.AdamW(
            small_vit.WarmUpCosine(1e-2, 4, 1e-3, 1), weight_decay=1e-3, decay_rule="decoupled"
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    before = [to_numpy(variable) for variable in model.trainable_variables]

    history = model.fit(images, labels, batch_size=4, epochs=2, verbose=0).history

    assert np.isfinite(history["loss"]).all()
    for variable, start in zip(model.trainable_variables, before, strict=True):
        if not variable.path.endswith("key/bias"):
            assert (to_numpy(variable) != start).any(), variable.path

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")

    close(loaded.predict(images, verbose=0), model.predict(images, verbose=0))
    assert isinstance(loaded.optimizer, small_vit.AdamW)


def test_each_layer_stands_alone():
    images = normal((2, 8, 8, 3))

    tokens, patches = small_vit.ShiftedPatchTokenization(patch_size=4, projection_dim=8)(images)
    encoded = small_vit.PatchEncoder(num_patches=4, projection_dim=8, class_token=True)(tokens)
    attended = small_vit.MultiHeadAttentionLSA(num_heads=2, key_dim=4)(encoded, encoded)

    assert tuple(patches.shape) == (2, 2, 2, 240)
    assert tuple(attended.shape) == (2, 5, 8)
    assert np.isfinite(to_numpy(attended)).all()
