"""The Keras example's model, loss and optimizer make the steps of the example's own code."""

import csv
from pathlib import Path

import numpy as np
import pytest

from small_vit import create_vit_classifier
from small_vit.recipes import RECIPES
from small_vit.training.factories import compile_model

# Losses of the example's own code on TensorFlow 2.15.1 and tensorflow-addons 0.23, without dropout
# and augmentation, on the images and from the weights that are drawn below.
EXAMPLE = Path(__file__).parent / "keras_example_steps.csv"
STEPS, BATCH = 40, 32
SIZES = {
    "image_size": 24,
    "projection_dim": 16,
    "key_dim": 16,
    "num_heads": 2,
    "num_layers": 2,
    "head_units": (32, 24),
}
NO_DROPOUT = dict.fromkeys(("dropout", "attention_dropout", "head_dropout"), 0.0)


@pytest.mark.parametrize("arm", ["vanilla", "spt+lsa"])
def test_each_step_has_the_loss_of_the_examples_own_code(arm):
    with EXAMPLE.open() as file:
        published = [float(row["loss"]) for row in csv.DictReader(file) if row["arm"] == arm]
    recipe = RECIPES["keras-example"]()

    draw = np.random.RandomState(0)
    labels = draw.randint(0, 10, STEPS * BATCH)
    patterns = draw.randint(0, 128, (10, 20, 20, 3))
    noise = draw.randint(0, 128, (STEPS * BATCH, 20, 20, 3))
    images = (noise + patterns[labels]).astype("uint8")
    model = create_vit_classifier(
        recipe.model.replace(**SIZES, **NO_DROPOUT),
        vanilla=arm == "vanilla",
        input_shape=(20, 20, 3),
        num_classes=10,
    )
    model.get_layer("normalization").adapt(images)
    for variable in model.trainable_variables:
        if not variable.path.endswith("temperature"):
            values = draw.normal(0, 0.1, variable.shape)
            variable.assign(values + variable.path.endswith("gamma"))

    compile_model(model, recipe.train, STEPS, num_classes=10)
    batches = zip(np.split(images, STEPS), np.split(np.eye(10)[labels], STEPS), strict=True)
    losses = [model.train_on_batch(*batch, return_dict=True)["loss"] for batch in batches]
    np.testing.assert_allclose(losses, published, atol=2e-5)
