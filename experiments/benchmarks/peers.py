"""Other libraries' models on PyTorch, built to our shapes and trained as PyTorch trains.

All have a class token and one linear layer on it. Where their dropout layers lie is theirs: they
are given the same rates. None of them is told to skip branches at random. Flip, rotation and zoom
are PyTorch's operations; for the paper's other augmentation they get our own layers on PyTorch,
since they bring none on the device with draws of each image's own. `torch.compile` is kept off
those: it compiles them anew at each call, as Keras numbers each operation it makes.
"""

import torch
from torch import nn
from torch.nn import functional as F

from small_vit.assembly import raw_augmentation

from .prepared import Prepared, keras_device
from .workload import IMAGE_SHAPE, NUM_CLASSES

# Of the workload's random pixels.
_MEAN, _DEVIATION = 127.5, 73.9


def prepare(workload, library, compiled):
    """Build a library's model, ready to train.

    Args:
        workload: `Workload`.
        library: "vit-pytorch", "transformers" or "timm".
        compiled: Whether `torch.compile` is given normalisation, warp, model and loss.

    Returns:
        `Prepared`.
    """
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32, as TensorFlow and JAX multiply there
    config = workload.config
    images, labels = (torch.from_numpy(array).to(device) for array in workload.data())
    model = _BUILDERS[library](config.model)
    network = _Classifier(model, config.model.image_size, config.augment)
    network.train().to(device)
    loss_of = torch.compile(network) if compiled else network
    augment = _RawAugmentation(config.augment)
    weight_decay = config.train.weight_decay
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.train.learning_rate, weight_decay=weight_decay, fused=True
    )
    mixed = workload.precision != "float32"

    def run():
        order = torch.randperm(len(labels), device=device)
        for rows in order.split(workload.batch_size):
            batch = augment(images[rows], labels[rows].to(torch.int64))
            with torch.autocast(device, torch.bfloat16, enabled=mixed):
                loss = loss_of(*batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        loss.item()  # waits for the device

    parameters = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return Prepared(run, keras_device()[0], parameters, (library,))


class _RawAugmentation:
    """What an `AugmentConfig` does to raw images and their labels, by our layers."""

    def __init__(self, augment):
        channels = IMAGE_SHAPE[-1]
        self.layers, self.mix = raw_augmentation(
            augment, [_MEAN] * channels, [_DEVIATION**2] * channels
        )

    @torch.no_grad()
    def __call__(self, images, labels):
        """Return images and one-hot targets, both mixed."""
        targets = F.one_hot(labels, NUM_CLASSES).float()
        for layer in self.layers:
            images = layer(images, training=True)
        if self.mix is not None:
            images, targets = self.mix([images, targets], training=True)
        return images, targets


class _Classifier(nn.Module):
    """Normalisation, resizing and warp on the device, the model, the loss."""

    def __init__(self, model, image_size, augment):
        super().__init__()
        self.model = model
        self.image_size = image_size
        self.augment = augment

    def forward(self, images, targets):
        x = images.permute(0, 3, 1, 2).float()
        x = (x - _MEAN) / _DEVIATION
        if self.image_size != IMAGE_SHAPE[0]:
            x = F.interpolate(x, (self.image_size, self.image_size), mode="bilinear")
        if self.augment.rotation or self.augment.zoom:
            x = self._warp(x)
        elif self.augment.flip:
            mirrored = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
            x = torch.where(mirrored, x.flip(-1), x)
        logits = self.model(x)
        return F.cross_entropy(logits.float(), targets)

    def _warp(self, x):
        """Flip, rotate and zoom each image by its own draw, in one bilinear resampling."""
        batch = x.shape[0]
        unit = torch.rand(4, batch, device=x.device) * 2 - 1
        mirror = torch.where(unit[0] < 0, -1.0, 1.0) if self.augment.flip else 1.0
        angle = unit[1] * (self.augment.rotation * 2 * torch.pi)
        zoom_x, zoom_y = 1 + unit[2] * self.augment.zoom, 1 + unit[3] * self.augment.zoom
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
        # One rate for attention and MLP.
        dropout=config.dropout,
    )


def _transformers(config):
    from transformers import ViTConfig, ViTForImageClassification

    model = ViTForImageClassification(
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
    return _Logits(model)


class _Logits(nn.Module):
    """A transformers model that returns its logits alone."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model(images).logits


def _timm(config):
    from timm.layers import Attention
    from timm.models.vision_transformer import VisionTransformer

    class WideAttention(Attention):
        """Heads as wide as asked for, which `VisionTransformer` has no argument for."""

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
