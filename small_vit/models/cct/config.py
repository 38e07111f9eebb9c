"""The settings of the compact convolutional transformer.

The defaults are the paper's model for CIFAR, CCT-7/3x1. In such a name 7 is `num_layers`, 3 is
`kernel_size` and 1 is `conv_layers`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from small_vit.models.convolutions import CHANNELS, Convolutions
from small_vit.settings import Settings
from small_vit.sizes import Size

PLAIN = {"temperature": "none", "diagonal_mask": False}
"""Changes to a `CCTConfig` that remove LSA."""


@dataclass(frozen=True)
class CCTConfig(Settings):
    """The compact convolutional transformer: tokenizer, blocks, sequence pooling, head."""

    kind: ClassVar[str] = "cct"
    image_size: Size = 32
    """Side in pixels, or (height, width), to which the model resizes its images."""
    conv_layers: int = 1
    """Convolutions of the tokenizer, each with a ReLU and a max-pool that halves the image."""
    kernel_size: int = 3
    """Side of their kernels in pixels."""
    projection_dim: int = 256
    """Width of a token."""
    num_layers: int = 7
    """Number of transformer blocks."""
    num_heads: int = 4
    """Attention heads in a block; they share the width of a token."""
    temperature: Literal["none", "layer", "head"] = "none"
    """LSA: the learned softmax temperature: none (fixed at the root of a head's width), one per
    layer, or one per head."""
    diagonal_mask: bool = False
    """LSA: whether a token is kept from attending to itself."""
    attention_dropout: float = 0.1
    """Dropout of the attention probabilities."""
    mlp_ratio: float = 2.0
    """Hidden width of a block's MLP, as a multiple of the token width."""
    dropout: float = 0.0
    """Dropout after each Dense of the MLP."""
    stochastic_depth: float = 0.1
    """Probability to skip a residual branch for an example in the last block; it rises to it from 0
    in the first."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("conv_layers", "kernel_size", "projection_dim", "num_heads"):
            self._require(getattr(self, name) >= 1, name, "at least 1")
        self._require(self.num_layers >= 0, "num_layers", "at least 0")
        self._require(
            self.projection_dim % self.num_heads == 0,
            "projection_dim",
            f"divisible by num_heads={self.num_heads}",
        )
        self._require(self.mlp_units >= 1, "mlp_ratio", "large enough")
        for name in ("attention_dropout", "dropout", "stochastic_depth"):
            self._require(0 <= getattr(self, name) < 1, name, "at least 0 and below 1")

    @property
    def mlp_units(self):
        """Hidden width of a block's MLP."""
        # Not int: 2.3 * 100 is a little below 230.
        return round(self.mlp_ratio * self.projection_dim)

    @property
    def convolutions(self):
        """The tokenizer; the last convolution has as many channels as a token is wide."""
        channels = (CHANNELS,) * (self.conv_layers - 1) + (self.projection_dim,)
        return Convolutions(channels, self.kernel_size)
