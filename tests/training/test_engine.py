import keras
import numpy as np
import pytest
from scipy.special import softmax

from layer_harness import to_numpy
from small_vit.data import Split, load_dataset
from small_vit.data.batches import ShuffledBatches
from small_vit.recipes import digits, paper
from small_vit.results.checkpoint import Checkpoint
from small_vit.results.run_directory import RunDirectory
from small_vit.training.classifier import build_training_model
from small_vit.training.factories import compile_model, make_engine


def split_of(examples):
    """Every image is filled with its own index."""
    images = np.broadcast_to(
        np.arange(examples, dtype="uint8")[:, None, None, None], (examples, 2, 2, 1)
    )
    return Split(images, np.arange(examples, dtype="int32") % 3)


def seen(batches, epoch):
    batches.start_epoch(epoch)
    return np.concatenate([batches[index][0][:, 0, 0, 0] for index in range(len(batches))])


def test_an_epoch_shows_each_example_once():
    batches = ShuffledBatches(split_of(10), num_classes=3, batch_size=4, seed=0)
    assert len(batches) == 3
    assert sorted(seen(batches, epoch=0)) == list(range(10))


def test_targets_are_the_labels_of_the_images():
    batches = ShuffledBatches(split_of(10), num_classes=3, batch_size=4, seed=0)
    images, targets = batches[1]
    np.testing.assert_array_equal(targets.argmax(-1), images[:, 0, 0, 0] % 3)
    np.testing.assert_array_equal(targets.sum(-1), 1)


def test_the_order_depends_on_seed_and_epoch_alone():
    batches = ShuffledBatches(split_of(50), 3, batch_size=8, seed=0)
    same = ShuffledBatches(split_of(50), 3, batch_size=8, seed=0)
    other = ShuffledBatches(split_of(50), 3, batch_size=8, seed=1)
    seen(same, epoch=0)  # what came before does not matter
    np.testing.assert_array_equal(seen(batches, epoch=5), seen(same, epoch=5))
    assert (seen(batches, epoch=5) != seen(batches, epoch=6)).any()
    assert (seen(batches, epoch=5) != seen(other, epoch=5)).any()


def test_devices_share_the_last_batch_evenly():
    batches = ShuffledBatches(split_of(11), 3, batch_size=4, seed=0, devices=2)
    sizes = [len(batches[index][0]) for index in range(len(batches))]
    assert sizes == [4, 4, 2]


def test_an_epoch_of_several_passes_shows_each_example_as_often():
    batches = ShuffledBatches(split_of(10), 3, batch_size=4, seed=0, passes=3)
    shown = seen(batches, epoch=1)
    passes = shown.reshape(3, 10)
    assert all(sorted(each) == list(range(10)) for each in passes)
    assert (passes[0] != passes[1]).any()


def test_the_smaller_last_batch_may_be_dropped():
    batches = ShuffledBatches(split_of(10), 3, batch_size=4, seed=0, passes=3, drop_last=True)
    assert [len(batches[index][0]) for index in range(len(batches))] == [4] * 7
    whole = ShuffledBatches(split_of(10), 3, batch_size=4, seed=0, passes=3)
    np.testing.assert_array_equal(seen(batches, epoch=0), seen(whole, epoch=0)[:28])


def test_the_papers_recipe_has_the_papers_steps():
    train = paper().train
    nothing = Split(np.zeros((50_000, 1, 1, 1), "uint8"), np.zeros(50_000, "int32"))
    batches = ShuffledBatches(
        nothing, 100, train.batch_size, 0, passes=train.passes_per_epoch, drop_last=train.drop_last
    )
    assert train.epochs * len(batches) == 117_100


class Record(keras.callbacks.Callback):
    """Notes what an engine reports."""

    def __init__(self):
        super().__init__()
        self.losses, self.accuracies, self.events, self.last_batches = [], [], [], []

    def on_train_begin(self, logs=None):
        self.events.append("begin")

    def on_epoch_begin(self, epoch, logs=None):
        self.events.append(f"epoch {epoch}")

    def on_train_batch_end(self, batch, logs=None):
        self.last = batch

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(float(logs["loss"]))
        self.accuracies.append(float(logs["accuracy"]))
        self.last_batches.append(self.last)

    def on_train_end(self, logs=None):
        self.events.append("end")


def tiny_engine(make=make_engine, recipe=digits):
    """Dropout, augmentation and an odd last batch: all that could make engines differ.

    Of the recipe, if another is given, come the augmentation and how epochs are made.
    """
    config = digits().replace(
        model={"num_layers": 1, "projection_dim": 16, "num_heads": 2, "key_dim": 8, "dropout": 0.1},
        augment=recipe().augment,
        train={"batch_size": 32},
    )
    dataset = load_dataset("digits")
    split = dataset.train.subset(slice(100))
    keras.utils.set_random_seed(0)
    model = build_training_model(config, dataset)
    train = recipe().train
    batches = ShuffledBatches(
        split, 10, 32, seed=0, passes=train.passes_per_epoch, drop_last=train.drop_last
    )
    compile_model(model, config.train, len(batches), dataset.num_classes)
    return make(model, batches)


def weights(engine):
    return [keras.ops.convert_to_numpy(weight) for weight in engine.model.weights]


def train_by_hand(engine, epochs):
    """Mean loss and accuracy of each epoch of the engine's batches, by Keras's own step alone."""
    figures = []
    for epoch in range(epochs):
        engine.batches.start_epoch(epoch)
        batches = [engine.batches[index] for index in range(len(engine.batches))]
        logs = [engine.model.train_on_batch(*batch, return_dict=True) for batch in batches]
        figures.append(
            np.average(
                [(log["loss"], log["accuracy"]) for log in logs],
                axis=0,
                weights=[len(images) for images, _ in batches],
            )
        )
    return np.transpose(figures)


@pytest.mark.parametrize(("recipe", "steps"), [(digits, 4), (paper, 9)])
def test_an_engine_equals_keras_steps(recipe, steps):
    """To 1e-5 after some dozen steps: the compiler may order sums otherwise."""
    engine, by_hand, found = tiny_engine(recipe=recipe), tiny_engine(recipe=recipe), Record()
    engine.run(0, 3, [found])
    losses, accuracies = train_by_hand(by_hand, 3)

    np.testing.assert_allclose(found.losses, losses, rtol=1e-5)
    np.testing.assert_allclose(found.accuracies, accuracies, rtol=1e-6)
    for weight, other in zip(weights(engine), weights(by_hand), strict=True):
        np.testing.assert_allclose(weight, other, atol=1e-5)
    assert found.events == ["begin", "epoch 0", "epoch 1", "epoch 2", "end"]
    assert found.last_batches == [steps - 1] * 3


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="elsewhere Keras decides")
@pytest.mark.parametrize(("precision", "on_a_cpu"), [("float32", True), ("bfloat16", False)])
def test_xla_is_on_where_it_gains(precision, on_a_cpu):
    config = digits().replace(train={"precision": precision})
    model = build_training_model(config, load_dataset("digits"))
    compile_model(model, config.train, steps_per_epoch=1, num_classes=10)
    assert model.jit_compile == (on_a_cpu or bool(keras.distribution.list_devices("gpu")))


def test_kerass_callbacks_serve(tmp_path, capsys):
    """Its progress bar keeps quiet, and its backup goes on where a training was killed."""

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def kerass():
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        return [backup, keras.callbacks.ProgbarLogger()]

    with pytest.raises(KeyboardInterrupt):
        tiny_engine().run(0, 3, [*kerass(), Kill()])
    found = Record()
    tiny_engine().run(0, 3, [*kerass(), found])
    assert found.events == ["begin", "epoch 2", "end"]
    assert not capsys.readouterr().out


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="of the engine for JAX")
@pytest.mark.parametrize("images_a_load", [1, 40, 64, 1000])
def test_images_on_disk_stream_through_the_same_steps(images_a_load, monkeypatch, tmp_path):
    """Bit by bit; an epoch is three batches of 32 and one of 4."""
    from small_vit.training import jax_engine

    def on_disk(model, batches):
        np.save(tmp_path / "images.npy", batches.split.read(slice(None)))
        images = np.load(tmp_path / "images.npy", mmap_mode="r")
        monkeypatch.setattr(jax_engine, "RESIDENT_BYTES", images.nbytes - 1)
        monkeypatch.setattr(jax_engine, "LOAD_BYTES", images_a_load * images[0].nbytes)
        batches.split = Split(images, batches.split.labels)
        return make_engine(model, batches)

    engines, records = (tiny_engine(), tiny_engine(on_disk)), (Record(), Record())
    for engine, record in zip(engines, records, strict=True):
        engine.run(0, 3, [record])

    found, expected = records
    assert (found.losses, found.accuracies) == (expected.losses, expected.accuracies)
    assert found.events == expected.events
    assert found.last_batches == expected.last_batches == [3, 3, 3]
    for weight, other in zip(*map(weights, engines), strict=True):
        np.testing.assert_array_equal(weight, other)


def softmax_regression(split, optimizer):
    """An engine on four pixels and three classes."""
    model = keras.Sequential(
        [
            keras.Input((2, 2, 1)),
            keras.layers.Rescaling(1 / 50),
            keras.layers.Flatten(),
            keras.layers.Dense(3, use_bias=False, kernel_initializer="zeros"),
        ]
    )
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    optimizer.build(model.trainable_variables)
    return make_engine(model, ShuffledBatches(split, num_classes=3, batch_size=2, seed=0))


def kernel_of(engine):
    return to_numpy(engine.model.trainable_weights[0])


def kernels_by_numpy(split, epochs):
    """Yield the kernel of softmax regression after each step."""
    batches = ShuffledBatches(split, num_classes=3, batch_size=2, seed=0)
    kernel = np.zeros((4, 3))
    for epoch in epochs:
        batches.start_epoch(epoch)
        for images, targets in map(batches.__getitem__, range(len(batches))):
            x = images.reshape(2, 4) / 50
            kernel = kernel - x.T @ (softmax(x @ kernel, axis=-1) - targets) / 2
            yield kernel


def test_a_late_epoch_trains_on_its_own_batches_in_order():
    """Against softmax regression in NumPy, whose steps do not commute."""
    split = split_of(50)
    engine = softmax_regression(split, keras.optimizers.SGD(1.0))
    engine.run(2, 4, [])

    *_, kernel = kernels_by_numpy(split, epochs=[2, 3])
    np.testing.assert_allclose(kernel_of(engine), kernel, atol=1e-5)


def test_averaged_weights_are_in_the_model_at_the_end():
    """Against NumPy: Keras's average begins with the weights after the first step."""
    split = split_of(50)
    optimizer = keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.9)
    engine = softmax_regression(split, optimizer)
    engine.run(0, 1, [])

    average, *later = kernels_by_numpy(split, epochs=[0])
    for kernel in later:
        average = 0.9 * average + 0.1 * kernel
    np.testing.assert_allclose(kernel_of(engine), average, atol=1e-5)


def test_an_engine_begins_where_it_is_told_and_stops_when_a_callback_asks():
    class StopAfterOne(Record):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    record = StopAfterOne()
    tiny_engine().run(2, 9, [record])

    assert record.events == ["begin", "epoch 2", "end"]


def test_a_callback_may_stop_within_an_epoch():
    class StopAtOnce(Record):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            self.model.stop_training = True

    record = StopAtOnce()
    tiny_engine().run(0, 3, [record])
    assert record.events == ["begin", "epoch 0", "end"]
    assert record.last_batches == [0]


def test_a_training_begins_within_an_epoch_where_another_stopped(tmp_path, monkeypatch):
    """Bit by bit, and the epoch's loss and accuracy are of all its steps."""

    if keras.backend.backend() == "jax":
        from small_vit.training import jax_engine

        monkeypatch.setattr(jax_engine, "SECONDS_PER_CALL", 0.0)  # one step a call

    class SaveAt(Record):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            if not self.saved and batch >= 1:
                self.saved = batch + 1
                RunDirectory(tmp_path).save_checkpoint(self.model, Checkpoint(step=batch + 1))

        saved = 0

    whole, rest = SaveAt(), Record()
    engines = tiny_engine(), tiny_engine()
    engines[0].run(0, 2, [whole])
    checkpoint = RunDirectory(tmp_path).restore_checkpoint(engines[1].model)
    assert checkpoint.step == whole.saved == 2
    engines[1].run(0, 2, [rest], checkpoint.step)

    assert (rest.losses, rest.accuracies) == (whole.losses, whole.accuracies)
    assert rest.last_batches == [3, 3]
    for weight, other in zip(*map(weights, engines), strict=True):
        np.testing.assert_array_equal(weight, other)


def test_batch_callbacks_get_no_logs_to_wait_for():
    class Logs(keras.callbacks.Callback):
        seen = ()

        def on_train_batch_end(self, batch, logs=None):
            self.seen += (logs,)

    logs = Logs()
    tiny_engine().run(0, 1, [logs])
    assert set(map(bool, logs.seen)) == {False}
