"""The families that sweeps compare, trained for the same amount of work or of epochs."""

from functools import partial

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


def _named(name, config):
    return named_model(name, config.model.image_size)


def _epochs_of_same_work(name, config):
    vit = _multiply_adds(_plain_vit(config), config)
    ratio = vit / _multiply_adds(_named(name, config), config)
    return max(1, round(config.train.epochs * ratio))


def _multiply_adds(model, config):
    image_shape, num_classes = image_shape_and_classes(config.data, model.image_size)
    return count_multiply_adds(model, image_shape, num_classes).total


_OTHERS = {
    # As its authors train CCT-7/3x1 on CIFAR-100 in batches of 128.
    "cct-2": (
        "cct-2/3x2",
        {
            "optimizer": "adamw",
            "learning_rate": 6e-4,
            "weight_decay": 0.06,
            "decay_rule": "scaled",
        },
    ),
    # As the paper trains it on CIFAR-10 in batches of 128, but with Nesterov's momentum. In the
    # paper the decay of 1e-4 is part of the gradient, so a momentum of 0.9 makes its effect
    # 1 / (1 - 0.9) = 10 times as large; Keras decays apart from the gradient.
    "resnet20": (
        "resnet20",
        {
            "optimizer": "sgd",
            "momentum": 0.9,
            "learning_rate": 0.1,
            "weight_decay": 1e-3,
            "decay_rule": "scaled",
        },
    ),
}
"""Name of the model and training of each arm that is no ViT."""


def _arms(same_work):
    """Options of an axis of families. The baseline is the recipe's ViT without SPT and LSA.

    Args:
        same_work: Whether all have the plain ViT's number of multiply-adds in training, as nearly
            as whole epochs allow, instead of its epochs. Time is not used: it differs between
            machines.
    """
    arms = {"vit": {"model": _plain_vit}, "vit+spt+lsa": {"model": _vit}}
    for arm, (name, train) in _OTHERS.items():
        # The epochs come first: they look at the recipe's model, which the other one replaces.
        own = {"epochs": partial(_epochs_of_same_work, name)} if same_work else {}
        arms[arm] = {"train": train | own, "model": partial(_named, name)}
    return arms


BY_WORK = _arms(same_work=True)
BY_EPOCHS = _arms(same_work=False)
