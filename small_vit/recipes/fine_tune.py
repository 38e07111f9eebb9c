"""Recipes that start from a trained model (`--init-from`). The model is that one's."""

import dataclasses

from small_vit.config import BACKBONE
from small_vit.recipes.small_datasets import cpu

FINE_TUNED = {"learning_rate": 1e-3, "layer_decay": 0.9, "freeze": ()}
"""What differs from training from scratch when all weights of a trained model are trained.

The decay is chosen by validation among 0.75, 0.9 and 1 on three sets (docs/transfer.md).
"""

LINEAR_PROBE = {
    "learning_rate": 1e-2,
    "weight_decay": 0.0,
    "freeze": (BACKBONE,),
    "layer_decay": 1.0,
}
"""What differs when a linear layer on a frozen backbone is trained."""


def fine_tune():
    """All weights of a trained model, by AdamW, at rates that fall from the head down.

    Source: the layer decay is as in Bao et al., arXiv 2106.08254, and He et al., arXiv 2111.06377,
    but 0.9 for few blocks instead of 0.65 to 0.75 for 12 and more; all else is that of `cpu`.
    Command: `small-vit train DIR --init-from RUN --recipe fine-tune`.
    Device and time: a step takes as long as one from scratch.
    Expected: not known. docs/transfer.md has accuracies of the recipes for folders at its learning
    rates.
    """
    return cpu().replace(
        recipe="fine-tune",
        arm="fine-tuned",
        train={"epochs": 20, "batch_size": 64} | FINE_TUNED,
    )


def fine_tune_sgd():
    """All weights of a trained model, by SGD as the ViT paper fine-tunes.

    Source: Dosovitskiy et al., arXiv 2010.11929, section 4.1 and appendix B.1.1: momentum 0.9,
    batch 512, cosine, no weight decay, the gradient's norm clipped to 1. The rate is the highest
    of the four that they try; choose it by validation.
    Command: `small-vit train DIR --init-from RUN --recipe fine-tune-sgd --image-size N`.
    Device and time: a step takes as long as one from scratch at that batch size.
    Expected: not known.

    Deviations: epochs instead of a number of steps, 100 of them, since small datasets have few
    steps of 512 images; Nesterov's momentum; no dropout is added.
    """
    return cpu().replace(
        recipe="fine-tune-sgd",
        arm="fine-tuned",
        train={
            "epochs": 100,
            "batch_size": 512,
            "optimizer": "sgd",
            "learning_rate": 0.03,
            "momentum": 0.9,
            "clip_norm": 1.0,
            "weight_decay": 0.0,
            "label_smoothing": 0.0,
        },
    )


def linear_probe():
    """A linear layer on the features of a trained model, whose backbone is frozen, without dropout.

    Source: this project; a linear classifier of frozen features is a usual measure of them.
    Command: `small-vit train DIR --init-from RUN --recipe linear-probe`.
    Device and time: a step takes a third to a half of one from scratch.
    Expected: not known. docs/transfer.md has accuracies of the recipes for folders at its learning
    rate.
    """
    return cpu().replace(
        recipe="linear-probe",
        arm="linear-probe",
        train={"epochs": 20, "batch_size": 64} | LINEAR_PROBE,
    )


def starting_from(config, path, model):
    """Return an experiment changed to start from the weights of a trained model.

    Args:
        config: `ExperimentConfig`. If it freezes the backbone, `linear_and_without_dropout` changes
            the model.
        path: The trained model, a run or file.
        model: Its config.
    """
    if BACKBONE in config.train.freeze:
        model = model.replace(**linear_and_without_dropout(model))
    config = config.replace(model=model, train={"init_from": str(path)})
    return config.replace(arm=arm_of_trained(config))


def arm_of_trained(config):
    """Return the arm's name of an experiment that starts from a trained model.

    Args:
        config: `ExperimentConfig`, with all changes to its recipe.

    Returns:
        "fine-tuned"; with a frozen backbone "linear-probe", or "new-head" if the head has hidden
        layers or the model dropout.
    """
    if BACKBONE not in config.train.freeze:
        return "fine-tuned"
    model = config.model
    linear = model == model.replace(**linear_and_without_dropout(model))
    return "linear-probe" if linear else "new-head"


def linear_and_without_dropout(model):
    """Return the changes to a model config, of any family, for a linear layer on frozen features.

    The head has no hidden layers. There is no dropout: a frozen layer cannot learn to do with it.
    """
    changes = {
        "attention_dropout": 0.0,
        "dropout": 0.0,
        "head_dropout": 0.0,
        "head_units": (),
        "stochastic_depth": 0.0,
    }
    names = {field.name for field in dataclasses.fields(model)}
    return {name: value for name, value in changes.items() if name in names}
