"""The named sweeps: each question with the grid that answers it.

The smallest, "arms", compares two arms. An option is a dict of changes to the recipe; `{}` changes
nothing. The first option of the last axis is the baseline that the others are compared with (see
`Sweep`).
"""

from small_vit.data.registry import count_training_images, image_shape_and_classes
from small_vit.errors import InputError
from small_vit.models.registry import FAMILIES
from small_vit.recipes.fine_tune import FINE_TUNED, LINEAR_PROBE, linear_and_without_dropout
from small_vit.sizes import as_pair
from small_vit.sweeps.families import BY_EPOCHS, BY_WORK
from small_vit.sweeps.grid import Sweep


def training_images(config):
    """Return the number of images that `config` trains on in one pass, without loading them."""
    if config.data.train_examples is not None:
        return config.data.train_examples
    return count_training_images(config.data)


def _percent(share):
    """Train on `share` percent of the training images; the validation images stay the same."""

    def examples(config):
        images = training_images(config)
        _, num_classes = image_shape_and_classes(config.data, config.model.image_size)
        if images * share // 100 < num_classes:
            raise InputError(
                f"{share} % of {images} training images is less than one image of each of the "
                f"{num_classes} classes. Add images, or choose a sweep that trains on all of them."
            )
        return images * share // 100

    return {"data": {"train_examples": examples}}


def _percent_with_all_steps(share):
    """As `_percent`, but an epoch has as many steps as with all images."""
    passes = {"passes_per_epoch": lambda config: config.train.passes_per_epoch * 100 // share}
    return _percent(share) | {"train": passes}


def _double_patch(config):
    return tuple(2 * side for side in as_pair(config.model.patch_size))


def _half_patch(config):
    return tuple(side // 2 for side in as_pair(config.model.patch_size))


_NO_SPT = {"shifts": "none", "patch_norm": False}
_NO_TEMPERATURE = {"temperature": "none"}
_NO_MASK = {"diagonal_mask": False}
_NO_LSA = _NO_TEMPERATURE | _NO_MASK


def _plain(config):
    return FAMILIES[config.model.kind].plain


def _linear_probe(config):
    return linear_and_without_dropout(config.model)


_VANILLA = {"model": _plain}
_BOTH_ARMS = {"vanilla": _VANILLA, "spt+lsa": {}}


SWEEPS = {
    "arms": Sweep("Is SPT+LSA better than the plain ViT?", {"arm": _BOTH_ARMS}),
    "start": Sweep(
        "Should attention's kernels start as small as in Keras 2, and which of them?",
        {
            "arm": _BOTH_ARMS,
            "start": {
                "keras3": {"model": {"attention_fans": "axes"}},
                "keras2": {"model": {"attention_fans": "keras2"}},
                "keras2-query-key": {"model": {"attention_fans": "keras2_query_key"}},
                "keras2-value": {"model": {"attention_fans": "keras2_value"}},
                "keras2-output": {"model": {"attention_fans": "keras2_output"}},
            },
        },
    ),
    "parts": Sweep(
        "Which of the paper's parts gives the gain?",
        {
            "parts": {
                "vanilla": _VANILLA,
                "spt": {"model": _NO_LSA},
                "shifts": {"model": {"patch_norm": False} | _NO_LSA},
                "patch-norm": {"model": {"shifts": "none"} | _NO_LSA},
                "lsa": {"model": _NO_SPT},
                "temperature": {"model": _NO_SPT | _NO_MASK},
                "mask": {"model": _NO_SPT | _NO_TEMPERATURE},
                "spt+lsa": {},
            }
        },
    ),
    "shift": Sweep(
        "Which shifts does SPT need, and how long?",
        {
            "shift": {
                "none": {"model": {"shifts": "none"}},
                "diagonal-0.25": {"model": {"shifts": "diagonal", "shift_ratio": 0.25}},
                "diagonal-0.5": {"model": {"shifts": "diagonal", "shift_ratio": 0.5}},
                "diagonal-0.75": {"model": {"shifts": "diagonal", "shift_ratio": 0.75}},
                "diagonal-1": {"model": {"shifts": "diagonal", "shift_ratio": 1.0}},
                "cardinal-0.5": {"model": {"shifts": "cardinal", "shift_ratio": 0.5}},
                "all-0.5": {"model": {"shifts": "all", "shift_ratio": 0.5}},
            }
        },
    ),
    "temperature": Sweep(
        "Does a learned softmax temperature help, one per layer or one per head?",
        {
            "temperature": {
                "none": {"model": {"temperature": "none"}},
                "layer": {"model": {"temperature": "layer"}},
                "head": {"model": {"temperature": "head"}},
            }
        },
    ),
    "position": Sweep(
        "Which position embedding is best?",
        {
            "position": {
                "none": {"model": {"position_embedding": "none"}},
                "learned": {"model": {"position_embedding": "learned"}},
                "sincos1d": {"model": {"position_embedding": "sincos1d"}},
                "sincos2d": {"model": {"position_embedding": "sincos2d"}},
            }
        },
    ),
    "pooling": Sweep(
        "How should the tokens become one vector?",
        {
            "pooling": {
                "flatten": {"model": {"pooling": "flatten"}},
                "class_token": {"model": {"pooling": "class_token"}},
                "mean": {"model": {"pooling": "mean"}},
            }
        },
    ),
    "patch": Sweep(
        "Do overlapping patches help, at the recipe's patch size and at twice that?",
        {
            "size": {
                "single": {},
                "double": {"model": {"patch_size": _double_patch}},
            },
            "stride": {
                "apart": {"model": {"stride": None}},
                "overlapping": {"model": {"stride": _half_patch}},
            },
        },
    ),
    "data": Sweep(
        "Do SPT and LSA help more with fewer images?",
        {
            "training images (%)": {
                "5": _percent(5),
                "10": _percent(10),
                "25": _percent(25),
                "50": _percent(50),
                "100": {},
            },
            "arm": _BOTH_ARMS,
        },
        curve=True,
    ),
    "families": Sweep(
        "Which family is best after the same amount of work?",
        {"family": BY_WORK},
    ),
    "families-epochs": Sweep(
        "Which family is best after the same number of epochs?",
        {"family": BY_EPOCHS},
    ),
    "data-families": Sweep(
        "Which family is best with how many images, after the same amount of work?",
        {
            "training images (%)": {
                "1": _percent_with_all_steps(1),
                "10": _percent_with_all_steps(10),
                "100": {},
            },
            "family": BY_WORK,
        },
        curve=True,
    ),
    "schedule": Sweep(
        "The example trains at a constant rate: what would its unused warm-up and cosine give?",
        {
            "arm": _BOTH_ARMS,
            "schedule": {
                "constant": {"train": {"schedule": "constant"}},
                "warmup_cosine": {"train": {"schedule": "warmup_cosine"}},
            },
        },
    ),
    "sam": Sweep(
        "Does sharpness-aware minimisation help, plain or adaptive?",
        {
            "optimizer": {
                "plain": {"train": {"sam_rho": 0.0, "sam_adaptive": False}},
                "sam": {"train": {"sam_rho": 0.05, "sam_adaptive": False}},
                "asam": {"train": {"sam_rho": 0.5, "sam_adaptive": True}},
            }
        },
    ),
    "fit": Sweep(
        "How should images of other proportions become square? (folders of images)",
        {
            "fit": {
                "crop": {"data": {"fit": "crop"}},
                "squash": {"data": {"fit": "squash"}},
                "pad": {"data": {"fit": "pad"}},
            }
        },
    ),
    "transfer": Sweep(
        "Does it help to start from a trained model, and is its head enough?",
        {
            "start": {
                "scratch": {"train": {"init_from": None, "freeze": (), "layer_decay": 1.0}},
                "fine-tuned": {"train": FINE_TUNED},
                "linear-probe": {"model": _linear_probe, "train": LINEAR_PROBE},
            }
        },
    ),
    "decay": Sweep(
        "At the same number, which weight decay is better: tensorflow-addons' or Keras's?",
        {
            "arm": _BOTH_ARMS,
            "decay": {
                "decoupled": {"train": {"weight_decay": 1e-4, "decay_rule": "decoupled"}},
                "scaled": {"train": {"weight_decay": 1e-4, "decay_rule": "scaled"}},
            },
        },
    ),
}
"""The sweeps by name."""
