"""The settings of the Vision Transformer.

The defaults are the Keras example's (`vit_small_ds`): `ViTConfig()` is its SPT+LSA model.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from small_vit.models.convolutions import CHANNELS, Convolutions
from small_vit.settings import Settings, is_whole
from small_vit.sizes import Size, as_pair, whole_shift

PLAIN = {"shifts": "none", "patch_norm": False, "temperature": "none", "diagonal_mask": False}
"""Changes to a `ViTConfig` that remove SPT and LSA."""


@dataclass(frozen=True)
class ViTConfig(Settings):
    """The Vision Transformer: tokens, blocks, head."""

    kind: ClassVar[str] = "vit"
    image_size: Size = 72
    """Side in pixels, or (height, width), to which the model resizes its images."""
    conv_layers: int = 0
    """Hybrid: convolutions of 3x3 before the patches, each with a ReLU and a max-pool that halves
    the image. Patches are then cut from the feature map: its pixels are those of patch_size, stride
    and shifts."""
    patch_size: Size = 6
    """Side of a patch in pixels, or (height, width)."""
    stride: Size | None = None
    """Step from one patch to the next; smaller than the patch makes patches overlap. Default: the
    patch size."""
    shifts: Literal["none", "diagonal", "cardinal", "all"] = "diagonal"
    """SPT: the directions of the shifted copies."""
    shift_ratio: float = 0.5
    """SPT: length of the shift in patch sizes."""
    patch_norm: bool = True
    """SPT: LayerNorm of the flattened patch before its projection."""
    position_embedding: Literal["none", "learned", "sincos1d", "sincos2d"] = "learned"
    """Position embedding added to the tokens."""
    embedding_initializer: Literal["uniform", "standard_normal"] = "uniform"
    """Initial values of learned positions and class token: U(-0.05, 0.05) as in Keras, N(0, 1) as
    in the paper."""
    projection_dim: int = 64
    """Width of a token."""
    num_layers: int = 8
    """Number of transformer blocks."""
    num_heads: int = 4
    """Attention heads in a block."""
    key_dim: int = 64
    """Width of one head."""
    qkv_bias: bool = True
    """Whether query, key and value projections have a bias."""
    temperature: Literal["none", "layer", "head"] = "layer"
    """LSA: the learned softmax temperature: none (fixed at sqrt(key_dim)), one per layer, or one
    per head."""
    temperature_form: Literal["divisor", "multiplier"] = "divisor"
    """LSA: scores are divided by a variable that starts at sqrt(key_dim) (the Keras example) or
    multiplied by one that starts at 1/sqrt(key_dim) (the paper's code)."""
    diagonal_mask: bool = True
    """LSA: whether a token is kept from attending to itself."""
    attention_dropout: float = 0.1
    """Dropout of the attention probabilities."""
    mlp_ratio: float = 2.0
    """Hidden width of a block's MLP, as a multiple of the token width."""
    mlp_output_activation: bool = True
    """Whether GELU follows the second Dense of the MLP too, as in the Keras example."""
    dropout: float = 0.1
    """Dropout after each Dense of the MLP."""
    stochastic_depth: float = 0.0
    """Probability to skip a residual branch for an example."""
    stochastic_depth_rule: Literal["constant", "linear"] = "constant"
    """constant: stochastic_depth in every block (the paper's code). linear: rising to it at the
    last block."""
    norm_epsilon: float = 1e-6
    """Epsilon of the LayerNorms."""
    pooling: Literal["flatten", "class_token", "mean"] = "flatten"
    """How the tokens become one vector."""
    head_units: tuple[int, ...] = (2048, 1024)
    """Widths of the hidden layers between that vector and the logits."""
    zero_head: bool = False
    """Whether the kernel of the logits starts at zero instead of as the other kernels."""
    head_dropout: float = 0.5
    """Dropout before the head and after each of its hidden layers."""
    kernel_initializer: Literal["glorot_uniform", "xavier_normal"] = "glorot_uniform"
    """Initial values of all kernels: uniform as in Keras, or normal as in the paper's code, both
    with variance 2 / (fan_in + fan_out)."""
    attention_fans: Literal[
        "axes", "keras2", "keras2_query_key", "keras2_value", "keras2_output", "joint_qkv"
    ] = "keras2"
    """How the fans of attention's kernels are counted, which sets the scale of initial values.
    axes: as in Keras 3.15. keras2: as in the Keras of 2022 (the Keras example), for all kernels;
    keras2_query_key, keras2_value and keras2_output: only for these. joint_qkv: with query, key and
    value as one kernel (the paper's code)."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("projection_dim", "num_heads", "key_dim"):
            self._require(getattr(self, name) >= 1, name, "at least 1")
        for name in ("conv_layers", "num_layers"):
            self._require(getattr(self, name) >= 0, name, "at least 0")
        self._require(self.mlp_units >= 1, "mlp_ratio", "large enough")
        self._require(self.shift_ratio >= 0, "shift_ratio", "at least 0")
        self._require(
            self.shifts == "none"
            or not self.shift_ratio
            or any(whole_shift(self.patch_size, self.shift_ratio)),
            "shift_ratio",
            f"0 or a pixel of patch_size={self.patch_size} at least",
        )
        positive = all(is_whole(units) and units >= 1 for units in self.head_units)
        self._require(positive, "head_units", "positive ints")
        self._require(self.norm_epsilon > 0, "norm_epsilon", "above 0")
        for name in ("attention_dropout", "dropout", "stochastic_depth", "head_dropout"):
            self._require(0 <= getattr(self, name) < 1, name, "at least 0 and below 1")
        height, width = self.feature_size
        patch = as_pair(self.patch_size)
        limit = f"image_size={self.image_size}"
        if self.conv_layers:
            limit = f"the feature map of {height}x{width}"
        self._require(
            patch[0] <= height and patch[1] <= width, "patch_size", f"no larger than {limit}"
        )
        if self.stride == self.patch_size:
            object.__setattr__(self, "stride", None)
        divisor = {"sincos1d": 2, "sincos2d": 4}.get(self.position_embedding, 1)
        self._require(
            self.projection_dim % divisor == 0,
            "projection_dim",
            f"divisible by {divisor} for position_embedding={self.position_embedding!r}",
        )

    @property
    def mlp_units(self):
        """Hidden width of a block's MLP."""
        # Not int: 2.3 * 100 is a little below 230.
        return round(self.mlp_ratio * self.projection_dim)

    @property
    def convolutions(self):
        """What images go through before their patches."""
        return Convolutions((CHANNELS,) * self.conv_layers, kernel_size=3)

    @property
    def feature_size(self):
        """(height, width) of what patches are cut from: images, or their feature map."""
        return self.convolutions.feature_size(self.image_size)

    def vanilla(self):
        """Return the same model without the paper's parts: no shifts, no patch norm, no LSA."""
        return self.replace(**PLAIN)
