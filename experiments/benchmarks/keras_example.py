"""The Keras example `vit_small_ds` as it is written there, in plain Keras 3 layers.

This is what users get who follow the example today. It is our own code after the example, with the
fixes that it needs on Keras 3 (see `_Attention`).
"""

import keras
from keras import layers, ops

from small_vit.data.tf_data import without_autotuning
from small_vit.training.devices import precision

from .workload import IMAGE_SHAPE, NUM_CLASSES


def prepare(workload, model, strategy):
    """Build and compile the example's model, ready to train.

    Args:
        workload: `Workload`.
        model: `ViTConfig` with its sizes.
        strategy: `Strategy` to build it under.

    Returns:
        `(model, train)`: a `keras.Model`, and a function that trains the workload's steps.
    """
    config = workload.config
    images, labels = workload.data()
    with strategy.scope(), precision(workload.precision):
        keras.utils.set_random_seed(0)
        built = build(model, config.augment if workload.augmentation == "example" else None)
        built.get_layer("augmentation").layers[0].adapt(images)
        built.compile(
            optimizer=keras.optimizers.AdamW(config.train.learning_rate, weight_decay=1e-4),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[
                keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
                keras.metrics.SparseTopKCategoricalAccuracy(5, name="top-5-accuracy"),
            ],
        )
    data = _data(images, labels, workload.batch_size)
    return built, lambda: built.fit(**data, verbose=0)


def _data(images, labels, batch_size):
    """Return arguments of `fit`: arrays, or on TensorFlow a dataset without autotuning.

    With autotuning the end of `fit` could wait for seconds, longer than the steps take.
    """
    if keras.backend.backend() != "tensorflow":
        return {"x": images, "y": labels, "batch_size": batch_size}
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices((images, labels))
    return {"x": without_autotuning(dataset.shuffle(len(images)).batch(batch_size))}


def build(config, augment=None):
    """Build the example's model at the sizes of a `ViTConfig`.

    The example's head flattens the tokens; with another `pooling` it uses their mean.

    Args:
        config: `ViTConfig`.
        augment: `AugmentConfig`, or None for no augmentation.

    Returns:
        `keras.Model` from images to logits.
    """
    vanilla = config == config.vanilla()
    patches = (config.image_size // config.patch_size) ** 2
    images = layers.Input(IMAGE_SHAPE)
    x = _augmentation(config, augment)(images)
    x = _PatchTokenization(config.patch_size, config.projection_dim, vanilla)(x)
    x = _PatchEncoder(patches, config.projection_dim)(x)
    mask = None if vanilla else 1 - ops.eye(patches, dtype="int8")
    attention = layers.MultiHeadAttention if vanilla else _Attention
    for _ in range(config.num_layers):
        normed = layers.LayerNormalization(epsilon=1e-6)(x)
        attended = attention(
            config.num_heads,
            config.key_dim,
            dropout=config.attention_dropout,
            # Glorot's, with the fans that Keras 2 counted in a kernel of 3 axes.
            kernel_initializer=keras.initializers.VarianceScaling(
                1.0, "fan_avg", "uniform", input_axes=(0, 1), output_axes=(0, 2)
            ),
        )(normed, normed, attention_mask=mask)
        x = layers.Add()([attended, x])
        normed = layers.LayerNormalization(epsilon=1e-6)(x)
        units = (int(config.mlp_ratio * config.projection_dim), config.projection_dim)
        x = layers.Add()([_mlp(normed, units, config.dropout), x])
    x = layers.LayerNormalization(epsilon=1e-6)(x)
    pool = layers.Flatten if config.pooling == "flatten" else layers.GlobalAveragePooling1D
    x = pool()(x)
    x = layers.Dropout(config.head_dropout)(x)
    x = _mlp(x, config.head_units, config.head_dropout)
    return keras.Model(images, layers.Dense(NUM_CLASSES, dtype="float32")(x))


def _augmentation(config, augment):
    stack = [layers.Normalization(), layers.Resizing(config.image_size, config.image_size)]
    if augment is not None:
        stack += [
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(augment.rotation),
            layers.RandomZoom(augment.zoom, augment.zoom),
        ]
    return keras.Sequential(stack, name="augmentation")


def _mlp(x, units, rate):
    for width in units:
        x = layers.Dense(width, activation="gelu")(x)
        x = layers.Dropout(rate)(x)
    return x


class _PatchTokenization(layers.Layer):
    """Patches of the image, and of four shifted copies of it unless vanilla, projected."""

    def __init__(self, patch_size, projection_dim, vanilla):
        super().__init__()
        self.patch_size = patch_size
        self.vanilla = vanilla
        self.projection = layers.Dense(projection_dim)
        self.norm = None if vanilla else layers.LayerNormalization(epsilon=1e-6)

    def call(self, images):
        if not self.vanilla:
            shifts = [self._shift(images, *to) for to in ((0, 0), (1, 0), (0, 1), (1, 1))]
            images = ops.concatenate([images, *shifts], axis=-1)
        patches = ops.image.extract_patches(images, self.patch_size, padding="valid")
        _, rows, columns, features = patches.shape
        flat = ops.reshape(patches, (-1, rows * columns, features))
        return self.projection(flat if self.norm is None else self.norm(flat))

    def _shift(self, images, down, right):
        """Crop half a patch off two sides and pad as much at the opposite ones."""
        half = self.patch_size // 2
        height, width = images.shape[1:3]
        top, left = (0 if down else half), (0 if right else half)
        cropped = images[:, top : top + height - half, left : left + width - half]
        pads = [(half, 0) if moved else (0, half) for moved in (down, right)]
        return ops.pad(cropped, [(0, 0), *pads, (0, 0)])


class _PatchEncoder(layers.Layer):
    """Adds a position embedding."""

    def __init__(self, patches, projection_dim):
        super().__init__()
        self.patches = patches
        self.positions = layers.Embedding(patches, projection_dim)

    def call(self, tokens):
        return tokens + self.positions(ops.arange(self.patches))


class _Attention(layers.MultiHeadAttention):
    """Keras's attention with its inner method overridden, as in the example.

    Two fixes: the temperature is a weight (Keras 3 does not train a `tf.Variable`), and the method
    takes the arguments that Keras has added since.
    """

    def build(self, query_shape, value_shape, key_shape=None):
        super().build(query_shape, value_shape, key_shape)
        root = keras.initializers.Constant(float(self.key_dim) ** 0.5)
        self.tau = self.add_weight(shape=(), initializer=root, name="tau")

    def _compute_attention(
        self, query, key, value, attention_mask=None, training=None, *added, **named
    ):
        query = ops.multiply(query, 1.0 / ops.cast(self.tau, query.dtype))
        scores = ops.einsum(self._dot_product_equation, key, query)
        scores = self._masked_softmax(scores, attention_mask)
        dropped = self._dropout_layer(scores, training=training)
        return ops.einsum(self._combine_equation, dropped, value), scores
