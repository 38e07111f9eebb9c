"""Multiply-adds of a Vision Transformer with weights from elsewhere."""

from small_vit.models.pretrained.preset import read_preset
from small_vit.models.vit import multiply_adds


def count(model, image_shape, num_classes):
    """Count the multiply-adds of one image's forward pass from the shapes of its preset.

    Args:
        model: `PretrainedConfig`.
        image_shape: (height, width, channels) of the raw images.
        num_classes: Number of logits.

    Returns:
        `MultiplyAdds` of the family "vit".

    Raises:
        InputError: if the preset cannot be loaded.
    """
    config = read_preset(model.preset).config.replace(image_size=model.image_size)
    return multiply_adds.count(config, image_shape, num_classes)
