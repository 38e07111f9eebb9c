"""Pooling of the tokens by learned weights."""

import keras
from keras import ops

# Score of padding: its softmax is exactly 0, unless there is nothing else.
_LOW = -1e9


@keras.saving.register_keras_serializable(package="small_vit")
class SequencePooling(keras.layers.Layer):
    """Returns the mean of the tokens, weighted by the softmax of a learned score of each.

    Args:
        kernel_initializer: Initializer of the kernel that scores a token.

    Call arguments:
        tokens: `(batch, tokens, dim)`.
        mask: Boolean, `(batch, tokens)`; false is padding, which gets no weight. Default: the mask
            that Keras keeps with `tokens`.

    Returns:
        `(batch, dim)`.

    Source: Hassani et al., arXiv 2104.05704, section 3.2. As in its authors' code the score has a
    bias, which changes nothing.
    """

    def __init__(self, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        """Create the weights."""
        dim = input_shape[-1]
        self.input_spec = keras.InputSpec(ndim=3, axes={-1: dim})
        self.kernel = self.add_weight(
            shape=(dim, 1), initializer=self.kernel_initializer, name="kernel"
        )
        self.bias = self.add_weight(shape=(1,), initializer="zeros", name="bias")

    def call(self, tokens, mask=None):
        """Return the weighted mean."""
        scores = ops.matmul(tokens, self.kernel) + self.bias  # (batch, tokens, 1)
        # In float32: half precision would round the weights coarsely.
        scores = ops.cast(scores, "float32")
        if mask is not None:
            scores = ops.where(ops.expand_dims(mask, -1), scores, _LOW)
        weights = ops.cast(ops.softmax(scores, axis=1), tokens.dtype)
        return ops.squeeze(ops.matmul(ops.transpose(weights, (0, 2, 1)), tokens), axis=1)

    def compute_mask(self, inputs, previous_mask):
        """Return no mask: there is one vector left."""

    def compute_output_shape(self, input_shape):
        """Return the shape of the means."""
        return input_shape[0], input_shape[2]

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
