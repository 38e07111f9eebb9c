"""Parts of transformers with convolutions in NumPy, from the formulas of their papers."""

import keras
import numpy as np
from keras import ops
from scipy.special import erf, softmax

from layer_harness import variable_gradients, weights_of


class NumpyTransformer:
    """Parts of a model that read its weights.

    A subclass has `outputs(images)`: pairs of a layer's name and its output.

    Args:
        model: `keras.Model`.
        config: Its config.
        epsilon: Of its LayerNorms.
    """

    def __init__(self, model, config, epsilon):
        self.model, self.config, self.epsilon = model, config, epsilon

    def weights(self, layer):
        return weights_of(self.model.get_layer(layer))

    def convolved(self, x, layer, size):
        """Convolution, ReLU and max-pool, one output pixel after the other."""
        stride, pad = {3: (1, 1), 4: (1, 2), 7: (2, 3)}[size]
        (kernel,) = self.weights(layer).values()
        x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        x = slide(x, size, stride, lambda window: np.tensordot(window, kernel, 3))
        x = np.pad(np.maximum(x, 0), ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
        return slide(x, 3, 2, lambda window: window.max((1, 2)))

    def block(self, x, layer):
        weights = self.weights(layer)
        x = x + self.attention(self.norm(x, weights, "attention_norm"), weights)
        hidden = dense(self.norm(x, weights, "mlp_norm"), weights, "mlp_hidden")
        hidden = 0.5 * hidden * (1 + erf(hidden / np.sqrt(2)))
        return x + dense(hidden, weights, "mlp_output")

    def attention(self, x, weights):
        query, key, value = (
            np.einsum("btd,dhk->bhtk", x, weights[f"{name}/kernel"])
            + weights.get(f"{name}/bias", np.zeros((1, 1)))[:, None]
            for name in ("query", "key", "value")
        )
        tau = np.sqrt(query.shape[-1])
        if self.config.temperature == "head":
            tau = weights["attention/temperature"].reshape(-1, 1, 1)
        scores = query @ key.swapaxes(-1, -2) / tau
        if self.config.diagonal_mask:
            scores = np.where(np.eye(x.shape[1], dtype=bool), -np.inf, scores)
        attended = softmax(scores, axis=-1) @ value
        kernel, bias = (weights[f"attention_output/{name}"] for name in ("kernel", "bias"))
        return np.einsum("bhtk,hkd->btd", attended, kernel) + bias

    def norm(self, x, weights, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + self.epsilon)
        return x * weights[f"{name}/gamma"] + weights[f"{name}/beta"]


def slide(x, size, stride, function):
    """`function` of each window of `size` x `size` pixels."""
    rows, columns = ((side - size) // stride + 1 for side in x.shape[1:3])
    return np.stack(
        [
            np.stack(
                [
                    function(x[:, row : row + size, column : column + size])
                    for column in range(0, columns * stride, stride)
                ],
                axis=1,
            )
            for row in range(0, rows * stride, stride)
        ],
        axis=1,
    )


def dense(x, weights, name):
    return x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]


def randomized(model):
    """Draw every weight, so that no zero or one hides a bug and all activations are small."""
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        inputs = np.prod(variable.shape[:-1])
        drawn = rng.normal(scale=min(0.3, inputs**-0.5), size=variable.shape)
        if variable.name in ("gamma", "temperature"):
            drawn = rng.uniform(0.5, 2.0, variable.shape)
        variable.assign(drawn.astype("float32"))
    return model


def without_gradient(model, images):
    """Paths of the trainable variables that a training step would leave where they are."""
    labels = np.arange(len(images))

    def loss(forward):
        outputs = forward(images)
        return ops.mean(
            keras.losses.sparse_categorical_crossentropy(labels, outputs, from_logits=True)
        )

    gradients = variable_gradients(model, loss)
    return [
        variable.path
        for variable, each in zip(model.trainable_variables, gradients, strict=True)
        if each is None or not np.isfinite(each).all() or not each.any()
    ]
