"""What the layer tests share: the layers under test, random weights, gradients and compilation."""

from dataclasses import dataclass, field

import keras
import numpy as np
from keras import ops

import small_vit as sv

BACKEND = keras.backend.backend()


@dataclass(frozen=True)
class LayerCase:
    layer_class: type
    kwargs: dict = field(default_factory=dict)
    input_shape: tuple = (5, 8)
    random: bool = False

    def make(self, **kwargs):
        return self.layer_class(**self.kwargs, **kwargs)

    def make_built(self, **kwargs):
        """The layer with its weights, each drawn at random."""
        layer = self.make(**kwargs)
        self.run(layer, keras.Input(self.input_shape))
        return randomize(layer)

    def inputs(self, batch=2):
        return normal((batch, *self.input_shape))

    def arguments(self, x):
        """Attention takes its input twice, as query and as value."""
        return (x, x) if issubclass(self.layer_class, keras.layers.MultiHeadAttention) else (x,)

    def run(self, layer, x, **kwargs):
        """Call `layer` on `x` and list its outputs."""
        return keras.tree.flatten(layer(*self.arguments(x), **kwargs))

    def run_fast(self, layer, x, **kwargs):
        """`run` without JAX's compilation of each operation by itself, which takes longer."""
        run = run_compiled if BACKEND == "jax" else LayerCase.run
        return run(self, layer, x, **kwargs)


LAYERS = {
    "spt": LayerCase(
        sv.ShiftedPatchTokenization,
        {"image_size": (8, 12), "patch_size": 4, "num_patches": 6, "projection_dim": 8},
        (8, 12, 3),
    ),
    "spt_vanilla": LayerCase(
        sv.ShiftedPatchTokenization,
        {"patch_size": (4, 3), "projection_dim": 8, "vanilla": True},
        (8, 12, 3),
    ),
    "spt_overlapping": LayerCase(
        sv.ShiftedPatchTokenization,
        {
            "patch_size": 4,
            "projection_dim": 8,
            "shifts": "all",
            "shift_ratio": 0.75,
            "patch_norm": False,
            "stride": (2, 3),
            "norm_epsilon": 1e-3,
            "kernel_initializer": "he_normal",
        },
        (8, 12, 3),
    ),
    "resize": LayerCase(sv.Resize, {"size": (12, 16)}, (8, 12, 3)),
    "resize_shrinking": LayerCase(sv.Resize, {"size": 6}, (8, 12, 3)),
    "encoder": LayerCase(sv.PatchEncoder, {"num_patches": 5, "projection_dim": 8}),
    "encoder_class_token": LayerCase(
        sv.PatchEncoder,
        {
            "num_patches": 5,
            "projection_dim": 8,
            "class_token": True,
            "embedding_initializer": "ones",
        },
    ),
    "encoder_sincos2d": LayerCase(
        sv.PatchEncoder,
        {
            "num_patches": (2, 3),
            "projection_dim": 8,
            "position_embedding": "sincos2d",
            "class_token": True,
        },
        (6, 8),
    ),
    "encoder_none": LayerCase(
        sv.PatchEncoder,
        {"num_patches": 5, "projection_dim": 8, "position_embedding": "none"},
    ),
    "sequence_pooling": LayerCase(sv.SequencePooling, {"kernel_initializer": "he_normal"}),
    "lsa": LayerCase(
        sv.MultiHeadAttentionLSA, {"num_heads": 2, "key_dim": 4, "dropout": 0.1}, random=True
    ),
    "lsa_paper": LayerCase(
        sv.MultiHeadAttentionLSA,
        {
            "num_heads": 2,
            "key_dim": 4,
            "temperature": "head",
            "temperature_form": "multiplier",
            "use_bias": False,
            "output_bias": True,
        },
    ),
    "lsa_off": LayerCase(
        sv.MultiHeadAttentionLSA,
        {"num_heads": 2, "key_dim": 4, "temperature": "none", "diagonal_mask": False},
    ),
    "block": LayerCase(
        sv.TransformerBlock,
        {"num_heads": 2, "key_dim": 4, "mlp_units": 16},
        random=True,
    ),
    "block_paper": LayerCase(
        sv.TransformerBlock,
        {
            "num_heads": 2,
            "key_dim": 4,
            "mlp_units": 12,
            "temperature": "head",
            "temperature_form": "multiplier",
            "diagonal_mask": False,
            "qkv_bias": False,
            "attention_dropout": 0.0,
            "dropout": 0.0,
            "mlp_output_activation": False,
            "stochastic_depth": 0.3,
            "norm_epsilon": 1e-3,
            "kernel_initializer": "glorot_normal",
        },
        random=True,
    ),
    "stochastic_depth": LayerCase(sv.StochasticDepth, {"rate": 0.5, "seed": 1}, random=True),
    "dropout": LayerCase(
        sv.FastDropout, {"rate": 0.5, "noise_shape": (None, 1, 8), "seed": 1}, random=True
    ),
    "affine": LayerCase(
        sv.RandomAffine,
        {"flip": False, "rotation": 0.1, "zoom": 0.1, "translation": 0.1, "seed": 1},
        (8, 12, 3),
        random=True,
    ),
    "crop": LayerCase(
        sv.PaddedRandomCrop, {"padding": 3, "fill": 0.5, "seed": 1}, (8, 12, 3), random=True
    ),
    "auto_augment": LayerCase(sv.AutoAugment, {"seed": 1}, (8, 12, 3), random=True),
    "erasing": LayerCase(
        sv.RandomErasing,
        {"probability": 0.9, "area": (0.1, 0.3), "aspect": (0.5, 2), "fill": (1, 2, 3), "seed": 1},
        (8, 12, 3),
        random=True,
    ),
}
RANDOM_LAYERS = {name: case for name, case in LAYERS.items() if case.random}


def normal(shape, seed=0, scale=1.0):
    values = np.random.default_rng(seed).normal(scale=scale, size=shape)
    return values.astype("float32")


def to_numpy(tensor):
    """float32 array of `tensor`, of whatever type that is (NumPy has no bfloat16)."""
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


def close(actual, expected, tolerance=1e-5):
    np.testing.assert_allclose(to_numpy(actual), to_numpy(expected), rtol=tolerance, atol=tolerance)


def randomize(layer, seed=0):
    """Draw every trainable weight, temperatures above zero, so that no zero or one hides a bug."""
    rng = np.random.default_rng(seed)
    for variable in layer.trainable_variables:
        if variable.name == "temperature":
            values = rng.uniform(0.5, 2.0, variable.shape)
        else:
            values = rng.normal(scale=0.5, size=variable.shape)
        variable.assign(values.astype("float32"))
    return layer


def logits_of(model, images):
    """The model's output in inference, by the way that is fastest for shapes seen once."""
    return model.predict_on_batch(images) if BACKEND == "jax" else model(images, training=False)


def close_layer_by_layer(model, images, expected):
    """Compare outputs of layers in inference to 2e-5; an error names the first that differs.

    Args:
        model: `keras.Model`.
        images: Its input.
        expected: Pairs of a layer's name and its first output, from the first layer to the last.
    """
    expected = dict(expected)
    outputs = {name: keras.tree.flatten(model.get_layer(name).output)[0] for name in expected}
    actual = logits_of(keras.Model(model.input, outputs), images)
    for name, values in expected.items():
        assert actual[name].shape == values.shape, name
        np.testing.assert_allclose(
            to_numpy(actual[name]), values, rtol=0, atol=2e-5, equal_nan=False, err_msg=name
        )


def weights_of(layer):
    """Map the last two parts of each weight's path ("query/kernel") to its value."""
    return {
        "/".join(variable.path.split("/")[-2:]): to_numpy(variable) for variable in layer.weights
    }


def gradient(function, x):
    """Gradient of a scalar `function` of one array, by the backend."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        x = tf.convert_to_tensor(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        return to_numpy(tape.gradient(value, x))
    if BACKEND == "jax":
        import jax

        return to_numpy(jax.grad(function)(x))
    x = ops.convert_to_tensor(x).detach().requires_grad_()
    function(x).backward()
    return to_numpy(x.grad)


def variable_gradients(model, loss):
    """Gradients of `loss(model)` for `model.trainable_variables`: arrays, or None where there is
    no path.

    Args:
        model: A built model or layer.
        loss: Function of a function that maps inputs to `model`'s output in training.
    """
    variables = model.trainable_variables
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = loss(lambda x: model(x, training=True))
        gradients = tape.gradient(value, [variable.value for variable in variables])
    elif BACKEND == "jax":
        import jax

        frozen = [variable.value for variable in model.non_trainable_variables]

        def of(trainable):
            return loss(lambda x: model.stateless_call(trainable, frozen, x, training=True)[0])

        gradients = jax.jit(jax.grad(of))([variable.value for variable in variables])
    else:
        loss(lambda x: model(x, training=True)).backward()
        gradients = [variable.value.grad for variable in variables]
    return [None if each is None else to_numpy(each) for each in gradients]


def compiled(function):
    """`function` of arrays, through XLA as a whole where the backend has it."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True)
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    return function


def run_compiled(case, layer, x, **kwargs):
    """Outputs of a layer whose call went through XLA as a whole."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        def call(x):
            return case.run(layer, x, **kwargs)

        return tf.function(call, jit_compile=True)(tf.convert_to_tensor(x))

    import jax

    def call(values, x):
        with keras.StatelessScope(state_mapping=zip(layer.variables, values, strict=True)):
            return case.run(layer, x, **kwargs)

    return jax.jit(call)([variable.value for variable in layer.variables], x)
