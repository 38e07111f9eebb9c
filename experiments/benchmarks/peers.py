"""Other libraries' models on PyTorch, with our sizes and a plain PyTorch train step.

All have a class token with one linear layer on it, our dropout rates where they have dropout, and
no stochastic depth. Flip, rotation and zoom are PyTorch operations. For the paper's other
augmentation the libraries have nothing that runs on the device with a draw for each image, so they
use our own layers on PyTorch. These are not under `torch.compile`: it would compile them again at
each call, since Keras numbers its operations.
"""

import torch
from torch.nn import functional as F

from small_vit.augment.pipeline import raw_augmentation

from .workload import IMAGE_SHAPE, NUM_CLASSES

# Mean and deviation of the workload's random pixels.
_MEAN, _DEVIATION = 127.5, 73.9


def prepare(workload, model, library, compiled):
    """Build a library's model, ready to train.

    Args:
        workload: `Workload`.
        model: `ViTConfig` with its sizes.
        library: "vit-pytorch", "transformers" or "timm".
        compiled: Whether normalisation, warp, model and loss are under `torch.compile`.

    Returns:
        `(run, parameters)`: a function that trains the workload's steps and waits for the device,
        and the number of trainable weights.
    """
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32, as TensorFlow and JAX use
    config = workload.config
    images, labels = (torch.from_numpy(array).to(device) for array in workload.data())
    network = _BUILDERS[library](model).train().to(device)
    loss_of = _loss_function(network, model.image_size, config.augment)
    loss_of = torch.compile(loss_of) if compiled else loss_of
    layers, mix = raw_augmentation(config.augment, [_MEAN] * 3, [_DEVIATION**2] * 3)
    rates = {"lr": config.train.learning_rate, "weight_decay": config.train.weight_decay}
    optimizer = torch.optim.AdamW(network.parameters(), **rates, fused=True)

    @torch.no_grad()
    def augment(batch, targets):
        targets = F.one_hot(targets.to(torch.int64), NUM_CLASSES).float()
        for layer in layers:
            batch = layer(batch, training=True)
        return mix([batch, targets], training=True) if mix else (batch, targets)

    def run():
        for rows in torch.randperm(len(labels), device=device).split(workload.batch_size):
            batch = augment(images[rows], labels[rows])
            with torch.autocast(device, torch.bfloat16, enabled=workload.precision != "float32"):
                loss = loss_of(*batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        loss.item()  # waits for the device

    return run, sum(p.numel() for p in network.parameters() if p.requires_grad)


def _loss_function(network, image_size, augment):
    """Normalisation, resizing, flip and warp on the device, the model, the loss."""

    def loss_of(images, targets):
        x = images.permute(0, 3, 1, 2).float()
        x = (x - _MEAN) / _DEVIATION
        if image_size != IMAGE_SHAPE[0]:
            x = F.interpolate(x, (image_size, image_size), mode="bilinear")
        if augment.rotation or augment.zoom:
            x = _warp(x, augment)
        elif augment.flip:
            mirrored = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
            x = torch.where(mirrored, x.flip(-1), x)
        logits = network(x)
        logits = getattr(logits, "logits", logits)  # transformers returns them in an object
        return F.cross_entropy(logits.float(), targets)

    return loss_of


def _warp(x, augment):
    """Flip, rotate and zoom each image at random, in one bilinear resampling."""
    unit = torch.rand(4, len(x), device=x.device) * 2 - 1
    mirror = torch.where(unit[0] < 0, -1.0, 1.0) if augment.flip else 1.0
    angle = unit[1] * (augment.rotation * 2 * torch.pi)
    zoom_x, zoom_y = 1 + unit[2] * augment.zoom, 1 + unit[3] * augment.zoom
    cos, sin, none = angle.cos(), angle.sin(), torch.zeros_like(angle)
    x_row = torch.stack([mirror * cos * zoom_x, -mirror * sin * zoom_y, none], dim=-1)
    y_row = torch.stack([sin * zoom_x, cos * zoom_y, none], dim=-1)
    grid = F.affine_grid(torch.stack([x_row, y_row], dim=1), x.shape, align_corners=False)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def _vit_pytorch(config):
    from vit_pytorch.vit_for_small_dataset import ViT

    return ViT(
        image_size=config.image_size,
        patch_size=config.patch_size,
        num_classes=NUM_CLASSES,
        dim=config.projection_dim,
        depth=config.num_layers,
        heads=config.num_heads,
        dim_head=config.key_dim,
        mlp_dim=int(config.mlp_ratio * config.projection_dim),
        # The same rate for attention and MLP.
        dropout=config.dropout,
    )


def _transformers(config):
    from transformers import ViTConfig, ViTForImageClassification

    return ViTForImageClassification(
        ViTConfig(
            image_size=config.image_size,
            patch_size=config.patch_size,
            hidden_size=config.projection_dim,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            head_dim=config.key_dim,
            intermediate_size=int(config.mlp_ratio * config.projection_dim),
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.attention_dropout,
            qkv_bias=config.qkv_bias,
            num_labels=NUM_CLASSES,
            attn_implementation="sdpa",
        )
    )


def _timm(config):
    from timm.layers import Attention
    from timm.models.vision_transformer import VisionTransformer

    class WideAttention(Attention):
        """Attention with heads of `key_dim`; `VisionTransformer` has no argument for it."""

        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options, attn_head_dim=config.key_dim)

    return VisionTransformer(
        img_size=config.image_size,
        patch_size=config.patch_size,
        num_classes=NUM_CLASSES,
        embed_dim=config.projection_dim,
        depth=config.num_layers,
        num_heads=config.num_heads,
        mlp_ratio=config.mlp_ratio,
        qkv_bias=config.qkv_bias,
        proj_drop_rate=config.dropout,
        attn_drop_rate=config.attention_dropout,
        attn_layer=WideAttention,
    )


_BUILDERS = {"vit-pytorch": _vit_pytorch, "transformers": _transformers, "timm": _timm}
