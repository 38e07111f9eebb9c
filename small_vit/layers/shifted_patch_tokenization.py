"""Shifted Patch Tokenization: patches that see half a patch beyond their border."""

import warnings

import keras
import numpy as np
from keras import ops

from small_vit.layers.quantization import quantization_of, quantized_arguments
from small_vit.sizes import as_pair, whole_shift

_DIAGONAL = ((1, 1), (-1, 1), (1, -1), (-1, -1))
_CARDINAL = ((1, 0), (-1, 0), (0, 1), (0, -1))

# For each name, where (down, right, in shift lengths) a shifted copy reads its pixels. The diagonal
# order is the Keras example's: left-up, left-down, right-up, right-down.
SHIFT_DIRECTIONS = {
    "none": (),
    "diagonal": _DIAGONAL,
    "cardinal": _CARDINAL,
    "all": _DIAGONAL + _CARDINAL,
}


@keras.saving.register_keras_serializable(package="small_vit")
class ShiftedPatchTokenization(keras.layers.Layer):
    """Cuts an image and its shifted copies into patches, normalises them and projects them.

    The image and its copies, shifted and zero-padded, are stacked on the channel axis; every patch
    of the stack is flattened, layer-normalised and projected to a token. With `vanilla=True` it is
    the ordinary ViT tokenization: no copies, no normalisation.

    If the patches do not fill an image, pixels at its lower and right border may be in no patch of
    the image or a copy. With a stride above the patch size this also holds between the patches.
    These pixels are ignored, as in the Keras example; `build` warns about them.

    Source: Lee, Lee and Song, arXiv 2112.13492, section 3.1, equations 5 to 7. Weights, their order
    and the order of a patch's values are those of the Keras example `vit_small_ds`.

    Args:
        image_size: Side of the images in pixels, or (height, width). Default: that of the input.
        patch_size: Side of a patch in pixels, or (height, width).
        num_patches: Number of patches, checked against the input. Default: counted.
        projection_dim: Width of a token.
        vanilla: Sets the defaults of `shifts` and `patch_norm`: `"none"` and `False` if true, else
            `"diagonal"` and `True`.
        shifts: Directions of the copies: `"none"`, `"diagonal"` (4), `"cardinal"` (4) or
            `"all"` (8).
        shift_ratio: Length of a shift in patch sizes, rounded down to whole pixels.
        patch_norm: Whether flattened patches are layer-normalised before the projection.
        stride: Step from one patch to the next in pixels, or (down, right). Default: `patch_size`.
        norm_epsilon: Epsilon of that normalisation.
        kernel_initializer: Initializer of the projection's kernel.
        quantization: Quantization of the projection by `model.quantize`, from `get_config`.

    Call arguments:
        images: `(batch, height, width, channels)`, of any type.

    Returns:
        `(tokens, patches)`: `(batch, num_patches, projection_dim)` and the flattened patches
        before normalisation, `(batch, rows, columns, patch_height * patch_width * copies *
        channels)`.

    Raises:
        ValueError: if an argument is out of range or the images do not fit `image_size`,
            `patch_size` or `num_patches`.

    Warns:
        UserWarning: in `build`, if pixels are ignored; it says how many.
    """

    def __init__(
        self,
        image_size=None,
        patch_size=6,
        num_patches=None,
        projection_dim=64,
        vanilla=False,
        shifts=None,
        shift_ratio=0.5,
        patch_norm=None,
        stride=None,
        norm_epsilon=1e-6,
        kernel_initializer="glorot_uniform",
        quantization=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.image_size = None if image_size is None else as_pair(image_size, "image_size")
        self.patch_size = as_pair(patch_size, "patch_size")
        self.num_patches = num_patches
        self.projection_dim = projection_dim
        self.vanilla = vanilla
        self.shifts = shifts or ("none" if vanilla else "diagonal")
        self.shift_ratio = shift_ratio
        self.patch_norm = (not vanilla) if patch_norm is None else patch_norm
        self.stride = self.patch_size if stride is None else as_pair(stride, "stride")
        self.norm_epsilon = norm_epsilon
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        if self.shifts not in SHIFT_DIRECTIONS:
            raise ValueError(
                f"`shifts` is one of {tuple(SHIFT_DIRECTIONS)}. Received: shifts={shifts!r}"
            )
        if shift_ratio < 0:
            raise ValueError(f"`shift_ratio` must be at least 0. Received: {shift_ratio}")
        if self.shifts != "none" and shift_ratio and not any(self._shift):
            raise ValueError(
                "`shift_ratio` must be 0, or shift by at least one pixel. Received: "
                f"{shift_ratio} of patch_size={patch_size}"
            )
        options = {"dtype": self.dtype_policy}
        options |= quantized_arguments(quantization or {}, "projection")
        self.projection = keras.layers.Dense(
            projection_dim,
            kernel_initializer=self.kernel_initializer,
            name="projection",
            **options,
        )
        self.layer_norm = None
        if self.patch_norm:
            self.layer_norm = keras.layers.LayerNormalization(
                epsilon=norm_epsilon, dtype=self.dtype_policy, name="layer_norm"
            )

    def build(self, input_shape):
        """Check the images' shape, warn about pixels in no patch, and create the weights."""
        _, rows, columns, features = self._patches_shape(input_shape)
        self.input_spec = keras.InputSpec(shape=(None, *input_shape[1:]))
        flat_shape = (input_shape[0], rows * columns, features)
        self._pixel_index = self._index_pixels(tuple(input_shape[1:3]), rows, columns)
        self._warn_of_ignored_pixels(*input_shape[1:3])
        self.projection.build(flat_shape)
        if self.layer_norm is not None:
            self.layer_norm.build(flat_shape)

    def call(self, images):
        """Return `(tokens, patches)` of `images`."""
        down, right = self._shift
        rows, columns = self._pixel_index.shape[:2]
        images = ops.cast(images, self.compute_dtype)
        padded = ops.pad(images, ((0, 0), (down, down), (right, right), (0, 0)))
        pixels = ops.reshape(padded, (-1, padded.shape[1] * padded.shape[2], padded.shape[3]))
        # All copies of all patches in one gather: (batch, rows, columns, patch pixels x copies,
        # channels). So the shifted images are never stored.
        patches = ops.take(pixels, self._pixel_index, axis=1)
        features = self._pixel_index.shape[2] * images.shape[-1]
        patches = ops.reshape(patches, (-1, rows, columns, features))
        flat_patches = ops.reshape(patches, (-1, rows * columns, features))
        if self.layer_norm is not None:
            flat_patches = self.layer_norm(flat_patches)
        return self.projection(flat_patches), patches

    def compute_output_shape(self, input_shape):
        """Return the shapes of `(tokens, patches)`."""
        batch, rows, columns, features = self._patches_shape(input_shape)
        return (batch, rows * columns, self.projection_dim), (batch, rows, columns, features)

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "image_size": self.image_size,
            "patch_size": self.patch_size,
            "num_patches": self.num_patches,
            "projection_dim": self.projection_dim,
            "vanilla": self.vanilla,
            "shifts": self.shifts,
            "shift_ratio": self.shift_ratio,
            "patch_norm": self.patch_norm,
            "stride": self.stride,
            "norm_epsilon": self.norm_epsilon,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "quantization": quantization_of({"projection": self.projection}),
        }

    @property
    def _directions(self):
        return ((0, 0), *SHIFT_DIRECTIONS[self.shifts])

    @property
    def _shift(self):
        """Length of a shift in pixels, (down, right). The padding is the same."""
        return (0, 0) if self.shifts == "none" else whole_shift(self.patch_size, self.shift_ratio)

    def _patches_shape(self, input_shape):
        if len(input_shape) != 4 or None in input_shape[1:]:
            raise ValueError(
                "ShiftedPatchTokenization needs images (batch, height, width, channels) of a known "
                "height, width and number of channels. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        batch, height, width, channels = input_shape
        if self.image_size is not None and (height, width) != self.image_size:
            raise ValueError(
                f"Images of {height} x {width} pixels do not fit image_size={self.image_size}"
            )
        if height < self.patch_size[0] or width < self.patch_size[1]:
            raise ValueError(
                f"A patch of patch_size={self.patch_size} does not fit into images of "
                f"{height} x {width} pixels"
            )
        rows = (height - self.patch_size[0]) // self.stride[0] + 1
        columns = (width - self.patch_size[1]) // self.stride[1] + 1
        if self.num_patches is not None and rows * columns != self.num_patches:
            raise ValueError(
                f"Images of {height} x {width} pixels have {rows} x {columns} = {rows * columns} "
                f"patches. Received: num_patches={self.num_patches}"
            )
        copies = len(self._directions)
        features = self.patch_size[0] * self.patch_size[1] * copies * channels
        return batch, rows, columns, features

    def _index_pixels(self, image_size, rows, columns):
        """Index, in the flattened padded image, of the pixel for each value of each patch.

        Returns:
            int32 array `(rows, columns, patch_height * patch_width * copies)`.
        """
        shift = np.array(self._shift)
        offsets = shift + shift * np.array(self._directions)  # (copies, 2)
        y = _positions(rows, self.stride[0], self.patch_size[0], offsets[:, 0])
        x = _positions(columns, self.stride[1], self.patch_size[1], offsets[:, 1])
        padded_width = image_size[1] + 2 * shift[1]
        index = y[:, None, :, None, :] * padded_width + x[None, :, None, :, :]
        return index.reshape(rows, columns, -1).astype("int32")

    def _warn_of_ignored_pixels(self, height, width):
        down, right = self._shift
        seen = np.zeros((height + 2 * down, width + 2 * right), bool)
        seen.flat[self._pixel_index] = True
        ignored = ~seen[down : down + height, right : right + width]
        if ignored.any():
            rows, columns = ignored.all(axis=1).sum(), ignored.all(axis=0).sum()
            warnings.warn(
                f"{ignored.sum()} pixels of images of {height} x {width} are ignored (whole rows: "
                f"{rows}, whole columns: {columns}): no patch of patch_size={self.patch_size} at "
                f"stride={self.stride} sees them. Resize, crop or pad the images, or change "
                "patch_size or stride.",
                stacklevel=2,
            )


def _positions(patches, stride, patch_size, offsets):
    """Positions along one axis, (patches, patch_size, copies)."""
    start = np.arange(patches)[:, None, None] * stride
    return start + np.arange(patch_size)[None, :, None] + offsets[None, None, :]
