"""The classifier against NumPy, against plain Keras layers, and against published sizes."""

import re

import keras
import numpy as np
import pytest
from keras import ops
from scipy.special import erf

from layer_harness import (
    close,
    close_layer_by_layer,
    logits_of,
    normal,
    randomize,
    to_numpy,
    variable_gradients,
)
from small_vit import AdamW, RandomAffine, ViTConfig, create_vit_classifier
from small_vit.errors import InputError
from small_vit.layers.transformer_block import transformer_blocks
from tiny import NO_DROPOUT, TINY, tiny_classifier

SMALL = TINY | {"num_layers": 2, "pooling": "flatten", "head_units": (6,)}
PAPER_PARTS = {
    "qkv_bias": False,
    "mlp_output_activation": False,
    "temperature": "head",
    "temperature_form": "multiplier",
    "pooling": "class_token",
    "head_units": (),
}
SPT = {"shifts": "diagonal", "patch_norm": True}
NO_SPT = {"shifts": "none", "patch_norm": False}
LSA = {"temperature": "head", "diagonal_mask": True}
NO_LSA = {"temperature": "none", "diagonal_mask": False}
# It shifts all scores of a query alike, which a softmax does not see, with the diagonal masked or
# not: its true gradient is zero, and what is computed is rounding.
KEY_BIAS = "key/bias"
ARMS = [pytest.param(True, id="vanilla"), pytest.param(False, id="spt+lsa")]


def small(input_shape=(8, 8, 3), num_classes=5, **fields):
    return randomize(tiny_classifier(input_shape, num_classes, **(SMALL | fields)))


def images_of(shape=(3, 8, 8, 3)):
    return np.random.default_rng(0).integers(0, 256, shape).astype("uint8")


class Reference:
    """The Keras example's model in NumPy, reading its weights in the example's order."""

    def __init__(self, model, config):
        trainable = model.trainable_variables
        self.weights = iter([to_numpy(w) for w in trainable if w.name != "temperature"])
        self.temperatures = iter([to_numpy(w) for w in trainable if w.name == "temperature"])
        self.config = config

    def take(self, count):
        return [next(self.weights) for _ in range(count)]

    def outputs(self, images):
        """Pairs of a layer's name and its output."""
        config = self.config
        x = self.tokens(images)
        yield "tokenization", x
        x = self.encoded(x)
        yield "encoder", x
        for number in range(config.num_layers):
            x = x + self.attention(self.norm(x, *self.take(2)))
            hidden = gelu(self.dense(self.norm(x, *self.take(2))))
            output = self.dense(hidden)
            x = x + (gelu(output) if config.mlp_output_activation else output)
            yield f"block_{number}", x
        x = self.norm(x, *self.take(2))
        yield "norm", x
        if config.pooling == "flatten":
            x = x.reshape(len(x), -1)
        else:
            x = x[:, 0] if config.pooling == "class_token" else x.mean(axis=1)
        yield "pooling", x
        for number in range(len(config.head_units)):
            x = gelu(self.dense(x))
            yield f"head_{number}", x
        yield "logits", self.dense(x)
        assert next(self.weights, None) is None
        assert next(self.temperatures, None) is None

    def dense(self, x):
        kernel, bias = self.take(2)
        return x @ kernel + bias

    def norm(self, x, gamma, beta):
        deviation = x - x.mean(-1, keepdims=True)
        return deviation / np.sqrt((deviation**2).mean(-1, keepdims=True) + 1e-6) * gamma + beta

    def tokens(self, images):
        size = self.config.patch_size
        if self.config.shifts == "diagonal":
            half, far = slice(None, -(size // 2)), slice(size // 2, None)
            copies = [images]
            # The example crops a corner and pads it back to size from the other side.
            for source in [(far, far), (half, far), (far, half), (half, half)]:
                copy = np.zeros_like(images)
                target = tuple(half if part == far else far for part in source)
                copy[:, target[0], target[1]] = images[:, source[0], source[1]]
                copies.append(copy)
            images = np.concatenate(copies, axis=-1)
        batch, height, width, channels = images.shape
        patches = images.reshape(batch, height // size, size, width // size, size, channels)
        patches = patches.transpose(0, 1, 3, 2, 4, 5)
        patches = patches.reshape(batch, -1, size * size * channels)
        kernel, bias = self.take(2)
        if self.config.patch_norm:
            patches = self.norm(patches, *self.take(2))
        return patches @ kernel + bias

    def encoded(self, tokens):
        if self.config.pooling == "class_token":
            (class_token,) = self.take(1)
            tokens = np.concatenate([class_token.repeat(len(tokens), axis=0), tokens], axis=1)
        if self.config.position_embedding == "learned":
            tokens = tokens + self.take(1)[0]
        return tokens

    def attention(self, x):
        projected = []
        for _ in range(3):
            kernel, bias = self.take(2) if self.config.qkv_bias else (*self.take(1), 0)
            projected.append(np.einsum("btd,dhk->bthk", x, kernel) + bias)
        query, key, value = (each.swapaxes(1, 2) for each in projected)
        scores = query @ key.swapaxes(-1, -2)
        if self.config.temperature == "none":
            scores = scores / np.sqrt(self.config.key_dim)
        else:
            tau = next(self.temperatures).reshape(-1, 1, 1)
            scores = scores / tau if self.config.temperature_form == "divisor" else scores * tau
        if self.config.diagonal_mask:
            scores = np.where(np.eye(x.shape[1], dtype=bool), -np.inf, scores)
        exponentials = np.exp(scores - scores.max(-1, keepdims=True))
        attended = exponentials / exponentials.sum(-1, keepdims=True) @ value
        kernel, bias = self.take(2)
        return np.einsum("bhtk,hkd->btd", attended, kernel) + bias


def gelu(x):
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


@pytest.mark.parametrize("vanilla", ARMS)
@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="example"),
        pytest.param(PAPER_PARTS, id="paper"),
        pytest.param({"pooling": "mean", "position_embedding": "none"}, id="mean-pooling"),
        pytest.param({"temperature": "head"}, id="temperature-per-head"),
        pytest.param({"temperature_form": "multiplier"}, id="multiplier"),
    ],
)
def test_each_layer_against_numpy(fields, vanilla):
    model = small(vanilla=vanilla, **fields)
    images = normal((3, 8, 8, 3))
    config = ViTConfig().replace(**{**SMALL, **fields})
    reference = Reference(model, config.vanilla() if vanilla else config)

    close_layer_by_layer(model, images, reference.outputs(images))


def test_vanilla_takes_the_weights_of_the_same_model_in_plain_keras_layers():
    layers = keras.layers
    images = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 4, strides=4)(images)
    x = layers.Reshape((4, 8))(x)
    x = x + layers.Embedding(4, 8)(ops.zeros_like(x[..., 0], dtype="int32") + ops.arange(4))
    for _ in range(2):
        normed = layers.LayerNormalization(epsilon=1e-6)(x)
        x = x + layers.MultiHeadAttention(2, 4, dropout=0.1)(normed, normed)
        hidden = layers.LayerNormalization(epsilon=1e-6)(x)
        hidden = layers.Dense(16, activation="gelu")(hidden)
        x = x + layers.Dense(8, activation="gelu")(hidden)
    x = layers.Flatten()(layers.LayerNormalization(epsilon=1e-6)(x))
    x = layers.Dense(6, activation="gelu")(x)
    plain = keras.Model(images, layers.Dense(5)(x))

    model = small(vanilla=True)
    for target, source in zip(plain.weights, model.trainable_variables, strict=True):
        target.assign(to_numpy(source).reshape(target.shape))

    pixels = normal((3, 8, 8, 3))
    close(logits_of(model, pixels), logits_of(plain, pixels))


@pytest.mark.parametrize(
    ("vanilla", "parameters"),
    [
        pytest.param(True, 21_759_012, id="vanilla"),
        pytest.param(False, 21_787_748, id="spt+lsa"),
    ],
)
def test_size_of_the_keras_examples_model(vanilla, parameters):
    assert trainable_parameters(create_vit_classifier(vanilla=vanilla)) == parameters


@pytest.mark.parametrize(
    ("fields", "parameters"),
    [
        pytest.param({**NO_SPT, **NO_LSA}, 2_709_796, id="base"),
        pytest.param({**SPT, **NO_LSA}, 2_747_140, id="spt"),
        pytest.param({**NO_SPT, **LSA}, 2_709_904, id="lsa"),
        pytest.param({**SPT, **LSA}, 2_747_248, id="spt+lsa"),
    ],
)
def test_size_of_the_papers_model(fields, parameters):
    model = create_vit_classifier(
        image_size=32,
        patch_size=4,
        projection_dim=192,
        num_layers=9,
        num_heads=12,
        key_dim=16,
        **{**PAPER_PARTS, **fields},
        embedding_initializer="standard_normal",
    )

    assert trainable_parameters(model) == parameters


def trainable_parameters(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_variables)


@pytest.mark.parametrize("vanilla", ARMS)
@pytest.mark.parametrize("form", ["divisor", "multiplier"])
def test_every_trainable_variable_gets_a_gradient(vanilla, form):
    model = small(vanilla=vanilla, temperature_form=form, **NO_DROPOUT)
    images, labels = normal((4, 8, 8, 3)), np.arange(4)

    def loss(forward):
        per_image = keras.losses.sparse_categorical_crossentropy(
            labels, forward(images), from_logits=True
        )
        return ops.mean(per_image)

    gradients = variable_gradients(model, loss)

    paths = [variable.path for variable in model.trainable_variables]
    assert sum("temperature" in path for path in paths) == (0 if vanilla else 2)
    dead = [
        path
        for path, each in zip(paths, gradients, strict=True)
        if (each is None or not np.isfinite(each).all() or not each.any())
        and not path.endswith(KEY_BIAS)
    ]
    assert dead == []


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"vanilla": True}, id="vanilla"),
        pytest.param({}, id="example"),
        pytest.param({**LSA, "temperature_form": "multiplier", "qkv_bias": False}, id="paper"),
    ],
)
def test_every_trainable_variable_moves_in_one_training_step(fields):
    model = small(**fields, num_layers=1, pooling="class_token")
    model.compile(
        optimizer=AdamW(learning_rate=1e-2, weight_decay=0.0),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    before = [to_numpy(variable) for variable in model.trainable_variables]

    model.train_on_batch(normal((16, 8, 8, 3)), np.arange(16) % 5)

    still = [
        variable.path
        for variable, start in zip(model.trainable_variables, before, strict=True)
        if (to_numpy(variable) == start).all() and not variable.path.endswith(KEY_BIAS)
    ]
    assert still == []


def test_uint8_and_float_images_give_the_same():
    model = small()
    model.get_layer("normalization").adapt(images_of((16, 8, 8, 3)))

    close(model(images_of()), model(images_of().astype("float32")), 0)


def test_normalization_is_the_identity_until_it_is_adapted():
    layer = small().get_layer("normalization")

    close(layer(images_of()), images_of(), 1e-6)


def test_normalization_adapts_to_each_channel():
    model = small()
    images = images_of((32, 8, 8, 3)) // np.array([1, 2, 3], "uint8")

    model.get_layer("normalization").adapt(images)

    normalized = to_numpy(model.get_layer("normalization")(images))
    close(normalized.mean((0, 1, 2)), np.zeros(3), 1e-4)
    close(normalized.std((0, 1, 2)), np.ones(3), 1e-4)


def test_given_normalization_replaces_the_default():
    halved = small(normalization=keras.layers.Rescaling(0.5))
    raw = small(normalization=keras.layers.Rescaling(1.0))
    raw.set_weights(halved.get_weights())

    images = normal((3, 8, 8, 3))
    close(logits_of(halved, 2 * images), logits_of(raw, images))


@pytest.mark.parametrize("sides", [(12, 16), (6, 8), (4, 12)])
def test_images_are_resized_to_image_size(sides):
    """Antialiased where they shrink: Keras's operation is, if told to, and enlarges the same."""
    resizing = small(input_shape=(*sides, 3))
    direct = small()
    direct.set_weights(resizing.get_weights())
    images = normal((3, *sides, 3))

    resized = to_numpy(ops.image.resize(images, (8, 8), antialias=True))

    close(logits_of(resizing, images), logits_of(direct, resized))


@pytest.mark.parametrize("pooling", ["flatten", "mean"])
def test_keras_image_data_format_changes_nothing(pooling):
    images = normal((3, 12, 16, 3))
    expected = logits_of(small(input_shape=(12, 16, 3), pooling=pooling), images)

    keras.config.set_image_data_format("channels_first")
    try:
        logits = logits_of(small(input_shape=(12, 16, 3), pooling=pooling), images)
    finally:
        keras.config.set_image_data_format("channels_last")

    close(logits, expected)


def test_plain_call_is_inference_with_resizing():
    model = small(input_shape=(12, 16, 3))
    images = normal((3, 12, 16, 3))

    close(model(images), logits_of(model, images))


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({"input_shape": (8, 12, 3), "image_size": (8, 12)}, 6),
        ({"input_shape": (8, 12, 1), "image_size": (8, 12), "patch_size": (4, 3)}, 8),
        ({"stride": 2}, 9),
        ({"stride": (4, 1)}, 10),
    ],
    ids=["non-square", "non-square-patch", "overlapping", "overlapping-one-way"],
)
def test_geometry(fields, tokens):
    model = small(**fields)

    assert model.get_layer("block_0").output.shape == (None, tokens, 8)
    images = normal((2, *model.input_shape[1:]))
    assert np.isfinite(to_numpy(logits_of(model, images))).all()


@pytest.mark.parametrize("position_embedding", ["none", "learned", "sincos1d", "sincos2d"])
@pytest.mark.parametrize("pooling", ["flatten", "class_token", "mean"])
def test_pooling_and_positions_go_together(pooling, position_embedding):
    model = create_vit_classifier(
        input_shape=(8, 12, 3),
        num_classes=5,
        **{
            **SMALL,
            "image_size": (8, 12),
            "num_layers": 0,
            "pooling": pooling,
            "position_embedding": position_embedding,
        },
    )

    tokens = 6 + (pooling == "class_token")
    assert model.get_layer("encoder").output.shape == (None, tokens, 8)
    assert model.get_layer("head_0").kernel.shape[0] == (48 if pooling == "flatten" else 8)
    assert model.output_shape == (None, 5)


@pytest.mark.parametrize(
    ("rule", "rates"), [("constant", [0.2, 0.2, 0.2, 0.2]), ("linear", [0.05, 0.1, 0.15, 0.2])]
)
def test_blocks_are_skipped_by_their_depths_rate(rule, rates):
    blocks = transformer_blocks(
        small(num_layers=4, stochastic_depth=0.2, stochastic_depth_rule=rule)
    )
    np.testing.assert_allclose([block.skip_mlp.rate for block in blocks], rates)
    np.testing.assert_allclose([block.skip_attention.rate for block in blocks], rates)


def test_positions_reach_the_model():
    images = np.ones((1, 8, 8, 3), "float32")
    without = small(**NO_SPT, position_embedding="none", num_layers=0)
    with_ = small(**NO_SPT, position_embedding="sincos2d", num_layers=0)

    def tokens(model):
        return to_numpy(keras.Model(model.input, model.get_layer("encoder").output)(images))

    close(tokens(without)[0], tokens(without)[0, :1].repeat(4, axis=0), 1e-6)
    assert len(np.unique(tokens(with_)[0].round(4), axis=0)) == 4


def test_vanilla_is_its_explicit_switches():
    explicit = small(**NO_SPT, **NO_LSA)

    assert small(vanilla=True).get_config() == explicit.get_config()


def test_config_and_keywords_are_the_same():
    config = ViTConfig(**SMALL)

    of_config = create_vit_classifier(config, input_shape=(8, 8, 3), num_classes=5)
    changed = create_vit_classifier(config, input_shape=(8, 8, 3), num_classes=5, num_layers=1)

    assert of_config.get_config() == small().get_config()
    assert changed.get_config() == small(num_layers=1).get_config()


def test_kernels_and_embeddings_start_as_asked():
    model = create_vit_classifier(
        input_shape=(8, 8, 3),
        **{**SMALL, **NO_SPT, "projection_dim": 256, "patch_size": 1, "num_layers": 1},
        embedding_initializer="standard_normal",
        kernel_initializer="xavier_normal",
    )

    positions = to_numpy(model.get_layer("encoder").trainable_variables[0])
    kernel = to_numpy(model.get_layer("block_0").mlp_hidden.kernel)
    assert 0.95 < positions.std() < 1.05
    # A uniform draw of the same variance would end at sqrt(3) standard deviations.
    assert np.abs(kernel).max() > 1.8 * kernel.std()


def test_unknown_field():
    with pytest.raises(TypeError, match="patch_sise"):
        create_vit_classifier(patch_sise=4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pooling": "max"}, "pooling is one of .*'max'"),
        ({"projection_dim": 0}, "projection_dim must be at least 1.*0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1.*1.0"),
        ({"image_size": 4, "patch_size": 6}, "patch_size must be no larger than image_size=4.*6"),
        ({"projection_dim": 6, "position_embedding": "sincos2d"}, "divisible by 4.*6"),
        ({"projection_dim": 7, "position_embedding": "sincos1d"}, "divisible by 2.*7"),
    ],
)
def test_bad_field(fields, message):
    with pytest.raises(InputError, match=message):
        create_vit_classifier(**fields)


@pytest.mark.parametrize("config", [True, 0, {"patch_size": 4}])
def test_config_of_another_type(config):
    with pytest.raises(InputError, match=re.escape(f"a ViTConfig. Received: config={config!r}")):
        create_vit_classifier(config)


@pytest.mark.parametrize("input_shape", [(32, 32), 32, (None, 32, 32, 3)])
def test_input_shape_is_height_width_channels(input_shape):
    message = f"(height, width, channels). Received: input_shape={input_shape!r}"
    with pytest.raises(InputError, match=re.escape(message)):
        create_vit_classifier(input_shape=input_shape)


CONFIGURATIONS = {
    "example": {},
    "vanilla": {"vanilla": True},
    "paper": {
        "pooling": "class_token",
        "temperature": "head",
        "temperature_form": "multiplier",
        "qkv_bias": False,
        "mlp_output_activation": False,
        "head_units": (),
        "embedding_initializer": "standard_normal",
        "kernel_initializer": "xavier_normal",
        "attention_fans": "joint_qkv",
        "stochastic_depth": 0.1,
    },
    "resized": {"input_shape": (12, 16, 3), "pooling": "mean", "shifts": "all", "stride": 2},
    "augmented": {"augmentation": RandomAffine(seed=0), "position_embedding": "sincos2d"},
}


def json_twin(model, folder):
    twin = keras.models.model_from_json(model.to_json())
    twin.set_weights(model.get_weights())
    twin.get_layer("normalization").finalize_state()  # Keras does so when it loads a file.
    return twin


def clone_with_saved_weights(model, folder):
    model.save_weights(folder / "model.weights.h5")
    clone = keras.models.clone_model(model)
    clone.load_weights(folder / "model.weights.h5")
    return clone


def reload(name):
    def save_and_load(model, folder):
        model.save(folder / name)
        return keras.saving.load_model(folder / name)

    return save_and_load


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize(
    "copy",
    [reload("model.keras"), reload("model.h5"), clone_with_saved_weights, json_twin],
    ids=["keras", "h5", "clone", "json"],
)
@pytest.mark.parametrize("kwargs", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_every_configuration_survives_every_format(kwargs, copy, tmp_path):
    model = small(**kwargs)
    shape = (3, *model.input_shape[1:])
    model.get_layer("normalization").adapt(images_of((16, *shape[1:])))

    twin = copy(model, tmp_path)

    close(logits_of(twin, images_of(shape)), logits_of(model, images_of(shape)), 1e-6)
    assert [each.path for each in twin.weights] == [each.path for each in model.weights]


@pytest.mark.parametrize("sides", [(12, 16), (6, 8)])
@pytest.mark.parametrize("saved_as", ["model.keras", "model.h5", "json"])
def test_saved_model_resizes_as_before(saved_as, sides, tmp_path):
    model, images = small(input_shape=(*sides, 3)), normal((3, *sides, 3))

    if saved_as == "json":
        loaded = keras.models.model_from_json(model.to_json())
        loaded.set_weights(model.get_weights())
    else:
        model.save(tmp_path / saved_as)
        loaded = keras.saving.load_model(tmp_path / saved_as)

    assert loaded.get_layer("resize").size == (8, 8)
    close(logits_of(loaded, images), logits_of(model, images), 1e-6)


def ensemble(*members):
    images = keras.Input((8, 8, 3))
    return keras.Model(images, keras.layers.Average()([member(images) for member in members]))


def test_an_ensemble_predicts_the_mean_and_can_be_saved(tmp_path):
    members = [randomize(small(name=f"member_{seed}"), seed) for seed in range(2)]
    first, second = (to_numpy(logits_of(member, images_of())) for member in members)
    assert np.abs(first - second).max() > 0.1

    model = ensemble(*members)
    model.save(tmp_path / "ensemble.keras")
    loaded = keras.saving.load_model(tmp_path / "ensemble.keras")

    close(logits_of(model, images_of()), (first + second) / 2)
    close(logits_of(loaded, images_of()), (first + second) / 2)


def test_a_loaded_model_is_renamed_for_an_ensemble(tmp_path):
    model = small()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")

    loaded.name = "other"

    close(logits_of(ensemble(model, loaded), images_of()), logits_of(model, images_of()))


def test_the_models_name():
    assert small().name == "small_vit"
    assert small(name="other").name == "other"


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_logits_are_float32_under_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = small()
    finally:
        keras.config.set_dtype_policy("float32")

    model.get_layer("normalization").adapt(images_of((16, 8, 8, 3)))
    logits = logits_of(model, images_of())

    assert model.get_layer("block_1").compute_dtype == policy.removeprefix("mixed_")
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    assert np.isfinite(to_numpy(logits)).all()


def test_augmentation_changes_nothing_in_inference():
    augmented = small(augmentation=RandomAffine(rotation=0.2, seed=0))
    plain = small()
    images = normal((3, 8, 8, 3))

    close(logits_of(augmented, images), logits_of(plain, images), 1e-6)


def test_augmentation_acts_in_training():
    augmented = small(augmentation=RandomAffine(rotation=0.2, seed=0), **NO_DROPOUT)
    images = normal((3, 8, 8, 3))

    difference = to_numpy(augmented(images, training=True)) - to_numpy(augmented(images))

    assert np.abs(difference).max() > 1e-2
