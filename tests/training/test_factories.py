"""The optimizer, loss and validation that a config asks for."""

import keras
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from small_vit import AdamW, TrainConfig, create_vit_classifier
from small_vit.errors import InputError
from small_vit.recipes import digits
from small_vit.results.run_directory import RunDirectory
from small_vit.training.factories import (
    class_weight_values,
    compile_model,
    make_loss,
    make_optimizer,
)
from small_vit.training.losses import CrossEntropy, FocalLoss
from small_vit.training.optimizers import ScheduleFreeAdamW
from small_vit.training.run import run_experiment

OPTIMIZERS = {
    "adamw": AdamW,
    "sgd": keras.optimizers.SGD,
    "muon": keras.optimizers.Muon,
    "lion": keras.optimizers.Lion,
    "schedule-free": ScheduleFreeAdamW,
}


def tiny(**changes):
    train = {"epochs": 2, "batch_size": 64, "schedule": "constant"}
    return digits().replace(
        model={"num_layers": 1, "projection_dim": 8, "num_heads": 1, "key_dim": 8, "patch_size": 4},
        data={"train_examples": 256} | changes.pop("data", {}),
        train=train | changes,
    )


def trained_losses(directory):
    return [row["loss"] for row in RunDirectory(directory).history()]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer_trains(name, tmp_path):
    config = tiny(optimizer=name, learning_rate=0.003, clip_norm=1.0)
    optimizer = make_optimizer(config.train, steps=8)
    assert type(optimizer) is OPTIMIZERS[name]
    assert optimizer.global_clipnorm == 1.0
    assert optimizer.weight_decay == config.train.weight_decay

    run_experiment(config, tmp_path / "run")

    first, second = trained_losses(tmp_path / "run")
    assert second < first


def test_muon_trains_the_kernels_of_mlps_and_patches():
    model = create_vit_classifier(num_layers=1, head_units=(16,), temperature="head")
    optimizer = make_optimizer(TrainConfig(optimizer="muon", decay_rule="scaled"), steps=1)
    optimizer.build(model.trainable_variables)
    by_adam = [optimizer._should_use_adamw(each) for each in model.trainable_variables]
    by_muon = [
        each.path for each, adam in zip(model.trainable_variables, by_adam, strict=True) if not adam
    ]
    assert len(by_muon) == 3
    assert all("mlp" in path or "tokenization" in path for path in by_muon)
    assert all(path.endswith("kernel") for path in by_muon)


def test_schedule_free_ends_with_the_average_of_its_steps():
    """Defazio et al., arXiv 2405.15682: z makes the steps, x is their mean."""
    weight = keras.Variable([1.0])
    optimizer = ScheduleFreeAdamW(0.1)
    optimizer.build([weight])
    for _ in range(20):
        optimizer.apply([keras.ops.array([2.0])], [weight])
    # Under a constant gradient each of Adam's steps is the learning rate.
    steps = 1 - 0.1 * np.arange(1, 21)
    gradients_at = 0.1 * steps[-1] + 0.9 * steps.mean()
    assert keras.ops.convert_to_numpy(weight) == pytest.approx(gradients_at, abs=1e-5)
    optimizer.finalize_variable_values([weight])
    assert keras.ops.convert_to_numpy(weight) == pytest.approx(steps.mean(), abs=1e-5)


@pytest.mark.parametrize("excluded", [False, True])
def test_schedule_free_decays_y_in_the_steps_of_z(excluded):
    """Algorithm 1 in NumPy, with a gradient of 2 y."""
    rate, decay, beta = 0.1, 0.0 if excluded else 0.5, 0.9
    z = x = y = 1.0
    velocity = 0.0
    weight = keras.Variable([1.0])
    optimizer = ScheduleFreeAdamW(rate, weight_decay=0.5)
    if excluded:
        optimizer.exclude_from_weight_decay([weight])
    optimizer.build([weight])
    for step in range(1, 31):
        optimizer.apply([keras.ops.multiply(weight, 2.0)], [weight])

        velocity += (4 * y**2 - velocity) * (1 - 0.999)
        z -= rate * (2 * y / (np.sqrt(velocity / (1 - 0.999**step)) + 1e-7) + decay * y)
        x += (z - x) / step
        y = (1 - beta) * z + beta * x
    assert keras.ops.convert_to_numpy(weight) == pytest.approx(y, abs=1e-5)
    optimizer.finalize_variable_values([weight])
    assert keras.ops.convert_to_numpy(weight) == pytest.approx(x, abs=1e-5)


@pytest.mark.parametrize("changes", [{"ema_momentum": 0.9}, {"optimizer": "schedule-free"}])
def test_averaged_weights_are_refused_where_batch_norm_has_statistics_of_others(changes):
    train = TrainConfig(decay_rule="scaled", **changes)
    model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization()])
    with pytest.raises(InputError, match="BatchNorm"):
        compile_model(model, train, steps_per_epoch=1, num_classes=4)
    model = keras.Sequential([keras.Input((4,)), keras.layers.LayerNormalization()])
    compile_model(model, train, steps_per_epoch=1, num_classes=4)


def test_excluded_kinds_do_not_decay_under_another_optimizer():
    train = TrainConfig(optimizer="sgd", decay_rule="scaled", decay_exclude=("bias",))
    optimizer = make_optimizer(train, steps=1)
    layer = keras.layers.Dense(1)
    layer.build((None, 2))
    optimizer.build(layer.trainable_variables)
    assert optimizer._use_weight_decay(layer.kernel)
    assert not optimizer._use_weight_decay(layer.bias)


def test_a_long_gradient_is_scaled_to_the_clip_norm():
    train = TrainConfig(
        optimizer="sgd", decay_rule="scaled", weight_decay=0.0, momentum=0.0, clip_norm=0.5
    )
    variable = keras.Variable(np.zeros(2, "float32"))
    optimizer = make_optimizer(train, steps=1)
    optimizer.apply([keras.ops.convert_to_tensor(np.float32([3.0, 4.0]))], [variable])
    step = -keras.ops.convert_to_numpy(variable) / train.learning_rate
    np.testing.assert_allclose(step, [0.3, 0.4], rtol=1e-5)


def test_averaged_weights_are_what_is_tested_and_saved(tmp_path):
    """A run whose rate is all but zero after the start would not tell: the average lags behind."""
    plain, averaged = tiny(learning_rate=0.01), tiny(learning_rate=0.01, ema_momentum=0.99)
    results = [
        run_experiment(config, tmp_path / name)
        for name, config in (("plain", plain), ("averaged", averaged))
    ]
    # The same steps are trained, and validated; the test is of other weights.
    assert trained_losses(tmp_path / "plain") == trained_losses(tmp_path / "averaged")
    assert results[0].validation == results[1].validation
    assert results[0].metrics["loss"] != results[1].metrics["loss"]


def test_the_loss_smooths_labels():
    train = TrainConfig(label_smoothing=0.2)
    targets, logits = np.float32([[1, 0]]), np.float32([[2, 0]])
    log_probabilities = logits - np.log(np.exp(logits).sum())
    expected = -(log_probabilities @ np.float32([0.9, 0.1]))
    np.testing.assert_allclose(float(make_loss(train)(targets, logits)), expected, rtol=1e-5)


def test_the_loss_without_weights_is_keras_own():
    loss = make_loss(TrainConfig())
    assert type(loss) is keras.losses.CategoricalCrossentropy


def test_class_weights_and_smoothing_reach_the_loss():
    loss = make_loss(TrainConfig(label_smoothing=0.1), [1.0, 2.0])
    assert type(loss) is CrossEntropy
    assert (loss.class_weights, loss.label_smoothing) == ([1.0, 2.0], 0.1)


@pytest.mark.parametrize("weights", [None, [1.0, 2.0]])
def test_the_focal_loss_of_a_config(weights):
    loss = make_loss(TrainConfig(loss="focal", focal_gamma=3, label_smoothing=0.1), weights)
    assert type(loss) is FocalLoss
    assert (loss.gamma, loss.class_weights, loss.label_smoothing) == (3.0, weights, 0.1)


NAMES = ("cat", "dog", "a=b")
LABELS = np.int32([0, 0, 0, 1, 2, 2])


def test_balanced_weights_are_scikit_learns():
    weights = class_weight_values(("balanced",), NAMES, LABELS)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    np.testing.assert_allclose(weights, expected)


@pytest.mark.parametrize(
    ("setting", "weights"),
    [
        ((), None),
        (("dog=2",), [1.0, 2.0, 1.0]),
        (("a=b=0.5", "cat=1e1"), [10.0, 1.0, 0.5]),
    ],
)
def test_weights_of_some_classes(setting, weights):
    assert class_weight_values(setting, NAMES, LABELS) == weights


@pytest.mark.parametrize(
    "setting",
    [
        ("cow=2",),
        ("dog",),
        ("=2",),
        ("dog=two",),
        ("dog=0",),
        ("dog=-1",),
        ("dog=inf",),
        ("dog=nan",),
        ("dog=1", "dog=1"),
        ("balanced", "dog=2"),
        ("dog=2", "none"),
        ("balanced", "balanced"),
    ],
)
def test_weights_that_make_no_sense_are_refused_with_the_classes(setting):
    with pytest.raises(InputError, match="The classes are: cat, dog, a=b"):
        class_weight_values(setting, NAMES, LABELS)


def test_a_class_without_training_images_cannot_be_balanced():
    with pytest.raises(InputError, match="There are none of: dog"):
        class_weight_values(("balanced",), NAMES, np.int32([0, 2]))


def test_without_validation_every_image_trains(tmp_path):
    config = tiny(data={"train_examples": None, "validation_split": "none"}, epochs=1)
    result = run_experiment(config, tmp_path / "run")
    assert result.train_examples == 1437
    assert result.validation == {}
    (row,) = RunDirectory(tmp_path / "run").history()
    assert not [name for name in row if name.startswith("val_")]
    report = (tmp_path / "run" / "report.md").read_text()
    assert "| | test |\n" in report
