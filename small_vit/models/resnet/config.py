"""The settings of the residual network."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from small_vit.settings import Settings
from small_vit.sizes import Size

STAGES = {
    18: ((64, 2), (128, 2), (256, 2), (512, 2)),
    20: ((16, 3), (32, 3), (64, 3)),
    56: ((16, 9), (32, 9), (64, 9)),
    110: ((16, 18), (32, 18), (64, 18)),
}
"""By depth, the channels and the number of blocks of each stage."""


@dataclass(frozen=True)
class ResNetConfig(Settings):
    """The residual network: stem, stages of blocks, head."""

    kind: ClassVar[str] = "resnet"
    image_size: Size = 32
    """Side in pixels, or (height, width), to which the model resizes its images."""
    depth: Literal[18, 20, 56, 110] = 20
    """Number of layers. 20, 56, 110: the networks for CIFAR, with 16, 32 and 64 channels and no
    weights in the shortcuts. 18: the smallest network for ImageNet, with 64 to 512 channels and
    projections in the shortcuts."""
    stem: Literal["small", "large"] = "small"
    """small: a convolution of 3x3, for images of about 32 pixels. large: one of 7x7 and a max-pool,
    which make the image four times smaller, for about 224 pixels (depth 18 only)."""

    def __post_init__(self):
        super().__post_init__()
        self._require(
            self.stem == "small" or self.depth == 18,
            "stem",
            f"'small' for depth={self.depth}: the large one is for depth 18",
        )
