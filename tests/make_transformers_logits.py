"""Write tests/transformers_vit: `python tests/make_transformers_logits.py`, with transformers and
torchvision installed.

transformers makes and saves the model of `transformers_checkpoint`, and gives its logits.
"""

import numpy as np
import torch
import transformers
import transformers_checkpoint as checkpoint
from safetensors.numpy import load_file


def main():
    """Write config.json, preprocessor_config.json and logits.csv."""
    weights = checkpoint.random_weights()
    config = transformers.ViTConfig(
        hidden_size=checkpoint.DIM,
        num_hidden_layers=checkpoint.LAYERS,
        num_attention_heads=checkpoint.HEADS,
        intermediate_size=checkpoint.HIDDEN,
        image_size=checkpoint.SIZE,
        patch_size=checkpoint.PATCH,
        layer_norm_eps=checkpoint.EPSILON,
        id2label=dict(enumerate(checkpoint.NAMES)),
        label2id={name: index for index, name in enumerate(checkpoint.NAMES)},
    )
    model = transformers.ViTForImageClassification.from_pretrained(
        None, config=config, state_dict={name: torch.tensor(weights[name]) for name in weights}
    )
    processor = transformers.ViTImageProcessor(
        size={"height": checkpoint.SIZE, "width": checkpoint.SIZE},
        image_mean=checkpoint.MEAN.tolist(),
        image_std=checkpoint.DEVIATION.tolist(),
    )
    model.save_pretrained(checkpoint.SAVED)
    processor.save_pretrained(checkpoint.SAVED)
    file = checkpoint.SAVED / "model.safetensors"
    saved = load_file(file)
    file.unlink()
    assert saved.keys() == weights.keys()
    for name, values in saved.items():
        np.testing.assert_array_equal(values, weights[name], err_msg=name)

    with torch.no_grad():
        logits = model.eval()(**processor(list(checkpoint.images_of()), return_tensors="pt")).logits
    versions = f"transformers {transformers.__version__}, torch {torch.__version__}"
    np.savetxt(checkpoint.SAVED / "logits.csv", logits.numpy(), "%.6f", ",", header=versions)


if __name__ == "__main__":
    main()
