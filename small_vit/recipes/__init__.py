"""Named experiments: each a function that returns its `ExperimentConfig`.

Most are written as changes to another recipe. The docstrings state source, command, device, time,
expected result and deviations.
"""

from small_vit.models.registry import FAMILIES, model_config
from small_vit.recipes.fine_tune import fine_tune, fine_tune_sgd, linear_probe, starting_from
from small_vit.recipes.folders import folder, folder_large, folder_small, sam_nll
from small_vit.recipes.pets import pets
from small_vit.recipes.references import (
    PUBLISHED,
    keras_example,
    keras_example_cosine,
    paper,
    paper_lr3e_3,
)
from small_vit.recipes.small_datasets import (
    cpu,
    cpu_keras3,
    digits,
    fashion_mnist,
    fast_60,
    fast_70,
)

RECIPES = {
    "keras-example": keras_example,
    "keras-example-cosine": keras_example_cosine,
    "paper": paper,
    "paper-lr3e-3": paper_lr3e_3,
    "fast-60": fast_60,
    "fast-70": fast_70,
    "cpu": cpu,
    "cpu-keras3": cpu_keras3,
    "digits": digits,
    "fashion-mnist": fashion_mnist,
    "folder": folder,
    "folder-small": folder_small,
    "folder-large": folder_large,
    "sam-nll": sam_nll,
    "fine-tune": fine_tune,
    "fine-tune-sgd": fine_tune_sgd,
    "linear-probe": linear_probe,
    "pets": pets,
}
"""The recipes by name."""

FOR_TRAINED_MODELS = ("fine-tune", "fine-tune-sgd", "linear-probe", "pets")
"""Recipes whose settings suit only a model that is trained already."""


def vanilla(config):
    """Return the arm "vanilla" of an experiment: the plain model of its family."""
    return config.replace(arm="vanilla", model=FAMILIES[config.model.kind].plain)


def changes_from_recipe(config, source=None):
    """List how a config differs from its recipe's, as `ExperimentConfig.differences` writes it.

    Arm, seed, devices and the folder of the data do not count: a recipe is for all of them. The
    parts that the arm "vanilla" leaves out do not count either. A model that starts from trained
    weights is compared with that of the weights instead.

    Args:
        config: `ExperimentConfig`.
        source: Config of the model whose weights it starts from. Default: it is not known, and
            changes of the model are left out.

    Returns:
        List of str; also empty for a config that is from no recipe.
    """
    if config.recipe not in RECIPES:
        return []
    recipe = RECIPES[config.recipe]()
    if config.arm == "vanilla":
        recipe = vanilla(recipe)
    if config.train.init_from is not None:
        model = config.model
        if source is not None:
            model = starting_from(recipe, config.train.init_from, source).model
        recipe = recipe.replace(model=model)
    changes = []
    if config.model.kind != recipe.model.kind:
        # The settings of two families do not compare: what is told is what differs from the
        # defaults of the family, at the recipe's image size.
        changes = [f"model.kind: {recipe.model.kind} -> {config.model.kind}"]
        model = model_config(config.model.kind, image_size=recipe.model.image_size)
        recipe = recipe.replace(model=model)
    same = {"seed": config.train.seed, "strategy": config.train.strategy}
    folder = {"data_dir": config.data.data_dir}  # A recipe for folders is for each of them.
    return changes + recipe.replace(arm=config.arm, train=same, data=folder).differences(config)


__all__ = ["FOR_TRAINED_MODELS", "PUBLISHED", "RECIPES", "changes_from_recipe", "vanilla"]
