"""Named experiments: each a function that returns its `ExperimentConfig`, told as a difference.

Their docstrings state source, command, device, time, expected result and deviations.
"""

from dataclasses import dataclass

from small_vit.config import ExperimentConfig


@dataclass(frozen=True)
class Published:
    """A published result of one arm, to print beside ours.

    Attributes:
        accuracy: Top-1 test accuracy, of 1.
        top5_accuracy: Top-5 test accuracy, of 1; None where it was not given.
        source: Who published it.
    """

    accuracy: float
    top5_accuracy: float | None
    source: str


def keras_example():
    """The Keras example `vit_small_ds`, as its published numbers were really made.

    Source: A. Roy Gosthipaty, "Train a Vision Transformer on small datasets", keras.io, 2022: 53.10
    -> 56.11 % top-1 (80.53 -> 82.27 % top-5), one seed an arm.
    Command: `python run_cifar100.py --recipe keras-example --compare --seeds 5`.
    Expected: within a point of the published numbers.

    The example defines a warm-up and cosine schedule and then trains at a constant rate; its decay
    is tensorflow-addons', which the learning rate does not scale; the last 10 % of the training
    images validate, unshuffled. All of that is kept.

    Deviations: flip, rotation and zoom are one resampling instead of three, and vanilla and
    SPT+LSA run through the same attention code.
    """
    return ExperimentConfig(recipe="keras-example")


def keras_example_cosine():
    """`keras-example` with the schedule the example defines wired in, at the right length.

    Source: as `keras-example`. The example's own length, 50,000 / 256 x 50 = 9,765 steps, would
    not fit its 8,800 real ones.
    Command: `python run_cifar100.py --recipe keras-example-cosine --compare --seeds 5`.
    Expected: not published anywhere.
    """
    return keras_example().replace(
        recipe="keras-example-cosine", train={"schedule": "warmup_cosine"}
    )


def digits():
    """scikit-learn's embedded digits, to see the whole comparison in minutes without a download.

    Source: this project.
    Command: `python run_cifar100.py --recipe digits --compare`.
    Expected: nothing to be proven here; 8 x 8 pixels leave SPT and LSA little to do.

    No flip: a mirrored digit is another sign.
    """
    return keras_example().replace(
        recipe="digits",
        model={
            "image_size": 8,
            "patch_size": 2,
            "projection_dim": 48,
            "num_layers": 4,
            "num_heads": 4,
            "key_dim": 12,
            "attention_dropout": 0.0,
            "dropout": 0.0,
            "pooling": "mean",
            "head_units": (),
            "head_dropout": 0.0,
        },
        augment={"flip": False, "rotation": 0.03, "zoom": 0.1, "translation": 0.1},
        data={"dataset": "digits", "validation_split": "stratified"},
        train={
            "epochs": 40,
            "batch_size": 64,
            "learning_rate": 2e-3,
            "schedule": "warmup_cosine",
            "weight_decay": 0.05,
            "decay_rule": "scaled",
        },
    )


RECIPES = {
    "keras-example": keras_example,
    "keras-example-cosine": keras_example_cosine,
    "digits": digits,
}

PUBLISHED = {
    ("keras-example", "cifar100", "vanilla"): Published(0.5310, 0.8053, "Keras example, 1 seed"),
    ("keras-example", "cifar100", "spt+lsa"): Published(0.5611, 0.8227, "Keras example, 1 seed"),
}
