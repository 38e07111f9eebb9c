"""Convolutions with max-pools: a tokenizer, or what an image goes through before its patches."""

from dataclasses import dataclass

from small_vit.sizes import as_pair

CHANNELS = 64
"""Channels of a convolution whose width is not set otherwise."""


@dataclass(frozen=True)
class Convolutions:
    """Convolutions, each with a ReLU and a max-pool of 3x3 that halves the image.

    Source: Hassani et al., arXiv 2104.05704, section 3.3; stride and padding are those of the
    authors' code.

    Attributes:
        channels: Channels of each.
        kernel_size: Side of the kernels in pixels.
    """

    channels: tuple[int, ...]
    kernel_size: int

    @property
    def stride(self):
        """Step of a convolution in pixels."""
        return max(1, self.kernel_size // 2 - 1)

    @property
    def padding(self):
        """Pixels of zeros on each side before a convolution."""
        return max(1, self.kernel_size // 2)

    def apply(self, x):
        """Return the feature map of images: `(batch, height, width, channels)`, both."""
        import keras  # Here, so that `--help` need not import it.

        last = {"data_format": "channels_last"}
        for number, channels in enumerate(self.channels):
            x = keras.layers.ZeroPadding2D(self.padding, **last, name=f"conv_{number}_padding")(x)
            x = keras.layers.Conv2D(
                channels,
                self.kernel_size,
                self.stride,
                activation="relu",
                use_bias=False,
                kernel_initializer="he_normal",
                **last,
                name=f"conv_{number}",
            )(x)
            # After a ReLU, zeros around the image are never larger than what is in it.
            x = keras.layers.ZeroPadding2D(1, **last, name=f"pool_{number}_padding")(x)
            x = keras.layers.MaxPooling2D(3, 2, **last, name=f"pool_{number}")(x)
        return x

    def feature_size(self, image_size):
        """Return (height, width) of the feature map of images of this size."""
        size = as_pair(image_size)
        for _ in self.channels:
            size = tuple((side + 1) // 2 for side in self._convolved(size))
        return size

    def multiply_adds(self, image_size, channels):
        """Count the multiply-adds for one image.

        Args:
            image_size: An int or (height, width).
            channels: Of the image.
        """
        size, total = as_pair(image_size), 0
        for outputs in self.channels:
            rows, columns = self._convolved(size)
            total += rows * columns * self.kernel_size**2 * channels * outputs
            size, channels = ((rows + 1) // 2, (columns + 1) // 2), outputs
        return total

    def _convolved(self, size):
        return tuple(
            (side + 2 * self.padding - self.kernel_size) // self.stride + 1 for side in size
        )
