"""The settings of a Vision Transformer with weights from elsewhere."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from small_vit.settings import Settings
from small_vit.sizes import Size


@dataclass(frozen=True)
class PretrainedConfig(Settings):
    """A Vision Transformer with the weights and the normalisation of a preset of keras-hub."""

    kind: ClassVar[str] = "pretrained"
    preset: str = "vit_base_patch16_224_imagenet"
    """Where the weights are: a preset of keras-hub (vit_base_patch16_224_imagenet, …), a model on
    Hugging Face (hf://google/vit-base-patch16-224), or a folder that keras-hub or transformers has
    written."""
    image_size: Size = 224
    """Side in pixels, or (height, width), to which the model resizes its images. Where it is not
    the preset's, its positions are interpolated."""

    def __post_init__(self):
        super().__post_init__()
        self._require(isinstance(self.preset, str) and self.preset, "preset", "a name or a folder")
        folder = Path(self.preset).expanduser()
        if folder.is_dir():
            # A run is resumed from other folders too.
            object.__setattr__(self, "preset", str(folder.resolve()))
