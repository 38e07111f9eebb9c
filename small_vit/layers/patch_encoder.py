"""Position embeddings and the class token."""

import math

import keras
import numpy as np
from keras import ops

POSITION_EMBEDDINGS = ("none", "learned", "sincos1d", "sincos2d")


@keras.saving.register_keras_serializable(package="small_vit")
class PatchEncoder(keras.layers.Layer):
    """Puts a class token in front, if asked to, and adds a position embedding to each token.

    Args:
        num_patches: Number of input tokens, or their grid (rows, columns).
        projection_dim: Width of a token.
        position_embedding: `"learned"` (a table, as in the Keras example and the paper),
            `"sincos1d"` (Vaswani et al., arXiv 1706.03762, section 3.5), `"sincos2d"` (half of
            the width for the row, half for the column) or `"none"`.
        class_token: Whether a learned token is put in front; it has its own position.
        embedding_initializer: Initializer of learned positions and class token. The Keras
            example draws U(-0.05, 0.05), the paper's code N(0, 1).

    Call arguments:
        tokens: `(batch, num_patches, projection_dim)`. A Keras mask is passed on to the output;
            in it the class token is not padding.

    Returns:
        `(batch, num_patches + class_token, projection_dim)`.

    Raises:
        ValueError: if an argument is out of range, or `"sincos2d"` gets a number of patches that
            is not a square, instead of their grid.
    """

    def __init__(
        self,
        num_patches,
        projection_dim,
        position_embedding="learned",
        class_token=False,
        embedding_initializer="uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        if position_embedding not in POSITION_EMBEDDINGS:
            raise ValueError(
                f"`position_embedding` is one of {POSITION_EMBEDDINGS}. "
                f"Received: position_embedding={position_embedding!r}"
            )
        grid = np.array(num_patches)
        if grid.dtype.kind not in "iu" or grid.shape not in ((), (2,)) or grid.min() < 1:
            raise ValueError(
                "`num_patches` must be a positive int or (rows, columns). "
                f"Received: num_patches={num_patches!r}"
            )
        # Python ints, also if NumPy's were given: `_grid` checks for int.
        self.num_patches = tuple(grid.tolist()) if grid.ndim else int(grid)
        self.projection_dim = projection_dim
        self.position_embedding = position_embedding
        self.class_token = class_token
        self.embedding_initializer = keras.initializers.get(embedding_initializer)
        self._count = int(grid.prod())
        self._positions = None
        if position_embedding.startswith("sincos"):
            self._positions = self._sincos_positions()

    def build(self, input_shape):
        """Check the tokens' shape and create the weights."""
        if tuple(input_shape[1:]) != (self._count, self.projection_dim):
            raise ValueError(
                f"PatchEncoder expects (batch, {self._count}, {self.projection_dim}). "
                f"Received: input_shape={tuple(input_shape)}"
            )
        # Checked at each call: without it a single token would broadcast over all positions.
        self.input_spec = keras.InputSpec(shape=(None, *input_shape[1:]))
        # Cloned, since one initializer instance would draw the same values twice.
        if self.class_token:
            self._class_token = self.add_weight(
                shape=(1, 1, self.projection_dim),
                initializer=self.embedding_initializer.clone(),
                name="class_token",
            )
        if self.position_embedding == "learned":
            self._positions = self.add_weight(
                shape=(self._count + self.class_token, self.projection_dim),
                initializer=self.embedding_initializer.clone(),
                name="position_embedding",
            )

    def call(self, tokens):
        """Return `tokens` with the class token and the positions."""
        if self.class_token:
            shape = (ops.shape(tokens)[0], 1, self.projection_dim)
            class_token = ops.cast(ops.broadcast_to(self._class_token, shape), tokens.dtype)
            tokens = ops.concatenate([class_token, tokens], axis=1)
        if self._positions is not None:
            tokens = tokens + ops.cast(self._positions, tokens.dtype)
        return tokens

    def compute_mask(self, inputs, previous_mask):
        """Return the mask of the output tokens; None if the input has none."""
        if previous_mask is None or not self.class_token:
            return previous_mask
        return ops.pad(previous_mask, ((0, 0), (1, 0)), constant_values=True)

    def compute_output_shape(self, input_shape):
        """Return the shape of the output tokens."""
        return (input_shape[0], input_shape[1] + self.class_token, input_shape[2])

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "num_patches": self.num_patches,
            "projection_dim": self.projection_dim,
            "position_embedding": self.position_embedding,
            "class_token": self.class_token,
            "embedding_initializer": keras.initializers.serialize(self.embedding_initializer),
        }

    def _sincos_positions(self):
        if self.position_embedding == "sincos1d":
            positions = _sincos(np.arange(self._count), self.projection_dim)
        else:
            _, columns = self._grid()
            row, column = np.divmod(np.arange(self._count), columns)
            half = self.projection_dim // 2
            positions = np.concatenate([_sincos(row, half), _sincos(column, half)], axis=-1)
        if positions.shape[-1] != self.projection_dim:
            raise ValueError(
                f"position_embedding={self.position_embedding!r} needs a projection_dim "
                f"divisible by 2 (1-D) or 4 (2-D). Received: projection_dim={self.projection_dim}"
            )
        # The class token has no position in the image: its row is zero.
        return np.pad(positions, ((int(self.class_token), 0), (0, 0))).astype("float32")

    def _grid(self):
        if not isinstance(self.num_patches, int):
            return self.num_patches
        side = math.isqrt(self.num_patches)
        if side * side != self.num_patches:
            raise ValueError(
                "position_embedding='sincos2d' needs num_patches=(rows, columns) unless the grid "
                f"is square. Received: num_patches={self.num_patches}"
            )
        return side, side


def _sincos(positions, dim):
    """Sines, then cosines, of `positions` at dim / 2 wavelengths from 2 pi to below 20,000 pi."""
    frequencies = 1.0 / 10_000 ** (np.arange(dim // 2) / (dim / 2))
    angles = positions[:, None] * frequencies
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)
