"""`python -m benchmarks.timm_onnx FOLDER`: write timm's ViT as ONNX. It needs torch and timm.

It reads the sizes in FOLDER/timm.json, and writes FOLDER/timm.onnx.
"""

import json
import sys
from pathlib import Path

import torch
from timm.layers import Attention
from timm.models.vision_transformer import VisionTransformer


def write(folder):
    """Write timm's `VisionTransformer`, with random weights, a class token and one linear layer.

    Args:
        folder: `Path`; timm.json in it holds `image_shape` (channels first), `key_dim`, and the
            arguments of `VisionTransformer` as `model`.
    """
    sizes = json.loads((folder / "timm.json").read_text())

    class WideAttention(Attention):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options, attn_head_dim=sizes["key_dim"])

    model = VisionTransformer(**sizes["model"], attn_layer=WideAttention).eval()
    torch.onnx.export(
        model,
        (torch.randn(2, *sizes["image_shape"]),),
        folder / "timm.onnx",
        input_names=["images"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        opset_version=20,
        external_data=False,
        dynamo=True,
    )


if __name__ == "__main__":
    write(Path(sys.argv[1]))
