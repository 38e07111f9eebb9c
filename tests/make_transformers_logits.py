"""Write tests/transformers_vit: `python tests/make_transformers_logits.py`, with transformers and
torchvision installed.

transformers makes and saves the model of `transformers_checkpoint`, and gives its logits.
"""

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file
from transformers_checkpoint import (
    DEVIATION,
    DIM,
    EPSILON,
    HEADS,
    HIDDEN,
    LAYERS,
    MEAN,
    NAMES,
    PATCH,
    SAVED,
    SIZE,
    images_of,
    random_weights,
)


def main():
    """Write config.json, preprocessor_config.json and logits.csv."""
    weights = random_weights()
    config = transformers.ViTConfig(
        hidden_size=DIM,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=HIDDEN,
        image_size=SIZE,
        patch_size=PATCH,
        layer_norm_eps=EPSILON,
        id2label=dict(enumerate(NAMES)),
        label2id={name: index for index, name in enumerate(NAMES)},
    )
    model = transformers.ViTForImageClassification.from_pretrained(
        None, config=config, state_dict={name: torch.tensor(weights[name]) for name in weights}
    )
    processor = transformers.ViTImageProcessor(
        size={"height": SIZE, "width": SIZE},
        image_mean=MEAN.tolist(),
        image_std=DEVIATION.tolist(),
    )
    model.save_pretrained(SAVED)
    processor.save_pretrained(SAVED)
    file = SAVED / "model.safetensors"
    saved = load_file(file)
    file.unlink()
    assert saved.keys() == weights.keys()
    for name, values in saved.items():
        np.testing.assert_array_equal(values, weights[name], err_msg=name)

    with torch.no_grad():
        logits = model.eval()(**processor(list(images_of()), return_tensors="pt")).logits
    versions = f"transformers {transformers.__version__}, torch {torch.__version__}"
    np.savetxt(SAVED / "logits.csv", logits.numpy(), "%.6f", ",", header=versions)


if __name__ == "__main__":
    main()
