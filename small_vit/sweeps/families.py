"""The families that sweeps compare, each trained for about the same amount of work."""

from small_vit.data.registry import image_shape_and_classes
from small_vit.errors import InputError
from small_vit.models.registry import FAMILIES, count_multiply_adds, named_model
from small_vit.recipes import FOR_TRAINED_MODELS


def _vit(config):
    """The recipe's model."""
    train = config.train
    trained = train.init_from is not None or config.recipe in FOR_TRAINED_MODELS
    if trained or train.freeze or train.layer_decay < 1:
        raise InputError(
            "The sweep compares families from random weights: leave out --init-from, --freeze and "
            "--layer-decay, and a recipe for trained models."
        )
    if config.model.kind != "vit":
        raise InputError(
            "The sweep takes its ViT from the recipe: leave out --model. "
            f"Received: a model of the family {config.model.kind}."
        )
    return config.model


def _plain_vit(config):
    return _vit(config).replace(**FAMILIES["vit"].plain)


def _family(name, **train):
    """The model of this name, for images of the recipe's size.

    Its number of epochs is chosen so that its multiply-adds are, as nearly as whole epochs allow,
    those of the plain ViT in the recipe's epochs. Time is not used, because it differs between
    machines.
    """

    def model(config):
        return named_model(name, config.model.image_size)

    def epochs(config):
        ratio = _multiply_adds(_plain_vit(config), config) / _multiply_adds(model(config), config)
        return max(1, round(config.train.epochs * ratio))

    # The epochs come first: they look at the recipe's model, which the other one replaces.
    return {"train": train | {"epochs": epochs}, "model": model}


def _multiply_adds(model, config):
    image_shape, num_classes = image_shape_and_classes(config.data, model.image_size)
    return count_multiply_adds(model, image_shape, num_classes).total


FAMILY_ARMS = {
    "vit": {"model": _plain_vit},
    "vit+spt+lsa": {"model": _vit},
    # As its authors train CCT-7/3x1 on CIFAR-100 in batches of 128.
    "cct-2": _family(
        "cct-2/3x2",
        optimizer="adamw",
        learning_rate=6e-4,
        weight_decay=0.06,
        decay_rule="scaled",
    ),
    # As the paper trains it on CIFAR-10 in batches of 128, but with Nesterov's momentum. In the
    # paper the decay of 1e-4 is part of the gradient, so a momentum of 0.9 makes its effect
    # 1 / (1 - 0.9) = 10 times as large; Keras decays apart from the gradient.
    "resnet20": _family(
        "resnet20",
        optimizer="sgd",
        momentum=0.9,
        learning_rate=0.1,
        weight_decay=1e-3,
        decay_rule="scaled",
    ),
}
"""Options of an axis of families. The baseline is the recipe's ViT without SPT and LSA."""
