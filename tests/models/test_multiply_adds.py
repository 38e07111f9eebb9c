"""How much a model computes, against the paper's and the compiler's counts."""

import keras
import numpy as np
import pytest

from small_vit import create_vit_classifier
from small_vit.models.registry import count_multiply_adds
from small_vit.recipes import keras_example, paper

MODELS = {"example": keras_example().model, "paper": paper().model}


@pytest.mark.parametrize(("arm", "published"), [("vanilla", 189.8e6), ("spt+lsa", 199.2e6)])
def test_the_papers_multiply_adds_are_those_published(arm, published):
    model = MODELS["paper"] if arm == "spt+lsa" else MODELS["paper"].vanilla()
    # The paper's count has what is no matrix product too.
    assert 0.95 * published < count_multiply_adds(model, (32, 32, 3), 100).total <= published


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="XLA's own count, as JAX tells it")
@pytest.mark.parametrize("name", ["example", "paper"])
@pytest.mark.parametrize("arm", ["vanilla", "spt+lsa"])
def test_forward_flops_are_the_compilers_count(name, arm):
    import jax

    config = MODELS[name].vanilla() if arm == "vanilla" else MODELS[name]
    model = create_vit_classifier(config)
    variables = model.trainable_variables, model.non_trainable_variables

    def forward(trainable, non_trainable, images):
        return model.stateless_call(trainable, non_trainable, images, training=False)[0]

    images = np.zeros((2, 32, 32, 3), "uint8")
    values = [[variable.value for variable in group] for group in variables]
    analysis = jax.jit(forward).lower(*values, images).cost_analysis()
    counted = 2 * 2 * count_multiply_adds(config, (32, 32, 3), 100).total
    # XLA counts softmax, norms and GELU too.
    assert counted < analysis["flops"] < 1.25 * counted
