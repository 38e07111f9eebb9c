"""Pooling by the class token."""

import keras


@keras.saving.register_keras_serializable(package="small_vit")
class ClassTokenPooling(keras.layers.Layer):
    """Returns the first token, where `PatchEncoder(class_token=True)` has put the class token.

    Call arguments:
        tokens: `(batch, tokens, dim)`.

    Returns:
        `(batch, dim)`.

    Source: Dosovitskiy et al., arXiv 2010.11929, equation 4.
    """

    def call(self, tokens):
        """Return the first token."""
        return tokens[:, 0]

    def compute_output_shape(self, input_shape):
        """Return the shape of the class tokens."""
        return input_shape[0], input_shape[2]

    def compute_mask(self, inputs, previous_mask):
        """Return no mask: there is one token left."""
