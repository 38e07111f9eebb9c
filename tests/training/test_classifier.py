import keras
import numpy as np
import pytest
from keras import ops

import small_vit as sv
from layer_harness import to_numpy
from small_vit.augment.pipeline import raw_augmentation
from small_vit.config import AugmentConfig
from small_vit.recipes import digits
from small_vit.results.run_directory import RunDirectory
from small_vit.training import run as training
from small_vit.training.classifier import TrainingModel
from tiny import NO_DROPOUT, tiny_classifier


def seeded_classifier():
    keras.utils.set_random_seed(0)
    return tiny_classifier(**NO_DROPOUT)


@pytest.fixture
def batch():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (6, 8, 8, 1), dtype="uint8")
    return images, np.eye(10, dtype="float32")[generator.integers(0, 10, 6)]


def test_inference_is_the_classifier(batch):
    classifier = seeded_classifier()
    model = TrainingModel(classifier, [sv.PaddedRandomCrop(2)], sv.RandomAffine(), sv.Mix(1.0))

    np.testing.assert_array_equal(to_numpy(model(batch[0])), to_numpy(classifier(batch[0])))


def test_the_loss_is_of_the_mixed_images_and_targets(batch):
    """As if images and targets had been mixed beforehand by the same draws."""
    images, targets = batch
    classifier, mix = seeded_classifier(), sv.Mix(1.0, seed=3)
    model = TrainingModel(classifier, mix=mix)
    model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    state = np.array(ops.convert_to_numpy(mix.seed_generator.state))
    outputs = model(images, training=True)
    loss = model.compute_loss(images, ops.convert_to_tensor(targets), outputs)

    mix.seed_generator.state.assign(state)
    mixed_images, mixed_targets = mix([images, targets], training=True)
    expected = keras.losses.categorical_crossentropy(
        mixed_targets, classifier(mixed_images), from_logits=True
    )

    assert not np.allclose(to_numpy(mixed_targets), targets)
    np.testing.assert_allclose(to_numpy(loss), to_numpy(expected).mean(), rtol=1e-5)


class RecordTargets(keras.losses.Loss):
    """Keeps the targets that it was last called with."""

    def call(self, y_true, y_pred):
        self.targets = to_numpy(y_true)
        return ops.mean(y_pred, axis=-1)


def test_targets_are_mixed_like_rows_of_the_identity(batch):
    """They tell how much of each image is in each, so a product with them mixes any targets."""
    images, targets = batch
    targets = np.random.default_rng(1).dirichlet(np.ones(10), 6).astype("float32")
    mix, same = sv.Mix(1.0, seed=3), sv.Mix(1.0, seed=3)
    model, loss = TrainingModel(seeded_classifier(), mix=mix), RecordTargets()
    model.compile(loss=loss)
    for _ in range(4):
        outputs = model(images, training=True)
        model.compute_loss(images, ops.convert_to_tensor(targets), outputs)
        _, rows = same([images, np.eye(6)], training=True)

        assert set(outputs) == {"logits", "partners", "share"}
        np.testing.assert_allclose(loss.targets, to_numpy(rows) @ targets, rtol=1e-6)


def test_without_mixing_there_are_logits_alone(batch):
    images, targets = batch
    classifier, loss = seeded_classifier(), RecordTargets()
    model = TrainingModel(classifier, [sv.PaddedRandomCrop(0)])
    model.compile(loss=loss)

    outputs = model(images, training=True)
    model.compute_loss(images, ops.convert_to_tensor(targets), outputs)

    np.testing.assert_array_equal(to_numpy(outputs), to_numpy(classifier(images, training=True)))
    np.testing.assert_array_equal(loss.targets, targets)


def test_metrics_are_of_the_labels_before_mixing(batch):
    model = TrainingModel(seeded_classifier(), mix=sv.Mix(1.0))
    model.compile(loss="mse", metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")])
    logits = ops.convert_to_tensor(batch[1])

    metrics = model.compute_metrics(None, batch[1], {"logits": logits})

    assert float(metrics["accuracy"]) == 1.0


def test_training_without_augmentation_is_the_classifier(batch):
    classifier = seeded_classifier()

    outputs = TrainingModel(classifier)(batch[0], training=True)

    np.testing.assert_array_equal(to_numpy(outputs), to_numpy(classifier(batch[0], training=True)))


@pytest.mark.parametrize("image_size", [8, 12])
def test_resized_images_are_augmented_between_resizing_and_tokens(batch, image_size):
    """As if the classifier had the layer inside, after "resize" or, without that, normalisation."""
    keras.utils.set_random_seed(0)
    small = {"image_size": image_size, "pooling": "flatten"} | NO_DROPOUT
    classifier = tiny_classifier(**small)
    with_layer = tiny_classifier(**small, augmentation=sv.RandomAffine(seed=3))
    weights = {weight.path: weight for weight in classifier.trainable_weights}
    for weight in with_layer.trainable_weights:
        weight.assign(weights[weight.path])
    model = TrainingModel(classifier, resized=sv.RandomAffine(seed=3))

    outputs = to_numpy(model(batch[0], training=True))

    expected = to_numpy(with_layer(batch[0], training=True))
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(outputs, to_numpy(model(batch[0])), atol=1e-3)
    assert len(model.trainable_variables) == len(classifier.trainable_variables)


@pytest.mark.parametrize("fill", ["raw_mean", "mean"])
def test_what_is_erased_is_as_set_once_normalised(fill):
    mean, variance = np.array([100.0, 120.0, 140.0]), np.array([50.0, 60.0, 70.0]) ** 2
    augment = AugmentConfig(erasing=1.0, erasing_fill=fill)
    (layer,), _ = raw_augmentation(augment, mean, variance)
    images = np.full((50, 8, 8, 3), 255.0, "float32")
    erased = to_numpy(layer(images, training=True))
    normalised = ((erased - mean) / np.sqrt(variance))[(erased != 255).all(-1)]
    expected = mean / 255 if fill == "raw_mean" else np.zeros(3)
    assert len(normalised) > 50
    np.testing.assert_allclose(normalised, np.broadcast_to(expected, normalised.shape), atol=1e-5)


def test_a_run_with_the_papers_augmentation_watches_the_test_set(tmp_path):
    config = digits().replace(
        model={"num_layers": 1, "projection_dim": 16, "num_heads": 2, "key_dim": 8},
        augment={"crop_padding": 1, "auto_augment": True, "erasing": 0.25, "mix": 0.5},
        data={"train_examples": 192, "validation_split": "test"},
        train={"epochs": 2, "passes_per_epoch": 3, "drop_last": True, "batch_size": 128},
    )
    result = training.run_experiment(config, tmp_path / "run")

    assert result.train_examples == 192
    assert result.metrics["accuracy"] == result.validation["accuracy"]  # of the last epoch
    best = max(RunDirectory(tmp_path / "run").history(), key=lambda row: row["val_accuracy"])
    assert result.best_on_test["accuracy"] == best["val_accuracy"]
    assert result.best_on_test["top5_accuracy"] == best["val_top5_accuracy"]
    told = (tmp_path / "run" / "report.md").read_text()
    assert "best epoch's accuracy" in told
    assert "192 training images, 2 epochs (3 passes each) of" in told
    saved = keras.saving.load_model(tmp_path / "run" / "model.keras", compile=False)
    names = [type(layer).__name__ for layer in saved.layers]
    assert not {"RandomAffine", "PaddedRandomCrop", "AutoAugment", "RandomErasing"} & set(names)
