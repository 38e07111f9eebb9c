"""The named sweeps: each question with the grid that answers it.

The smallest, "arms", compares two arms. An option is a dict of changes to the recipe; `{}` changes
nothing. The first option of the last axis is the baseline that the others are compared with (see
`Sweep`).
"""

from small_vit.data.registry import count_training_images
from small_vit.errors import InputError
from small_vit.models.registry import FAMILIES, named_model
from small_vit.sizes import as_pair
from small_vit.sweeps.grid import Sweep


def training_images(config):
    """Return the number of images that `config` trains on in one pass, without loading them."""
    if config.data.train_examples is not None:
        return config.data.train_examples
    return count_training_images(config.data)


def _percent(share):
    """Train on `share` percent of the training images; the validation images stay the same."""
    return {"data": {"train_examples": lambda config: training_images(config) * share // 100}}


def _double_patch(config):
    return tuple(2 * side for side in as_pair(config.model.patch_size))


def _half_patch(config):
    return tuple(side // 2 for side in as_pair(config.model.patch_size))


_NO_SPT = {"shifts": "none", "patch_norm": False}
_NO_TEMPERATURE = {"temperature": "none"}
_NO_MASK = {"diagonal_mask": False}


def _plain(config):
    return FAMILIES[config.model.kind].plain


_VANILLA = {"model": _plain}
_BOTH_ARMS = {"vanilla": _VANILLA, "spt+lsa": {}}


def _vit(config):
    if config.model.kind != "vit":
        raise InputError(
            "The sweep takes its ViT from the recipe: leave out --model. "
            f"Received: a model of the family {config.model.kind}."
        )
    return config.model


def _plain_vit(config):
    return _vit(config).replace(**_plain(config))


def _named(name):
    """The model of this name, for images of the recipe's size."""
    return lambda config: named_model(name).replace(image_size=config.model.image_size)


# Optimizers as published, for batches of 128. CCT: AdamW. ResNet: SGD with momentum 0.9 and an L2
# penalty of 1e-4, whose gradients momentum multiplies by 10; here decay is apart from momentum.
_FAMILIES = {
    "vit": {"model": _plain_vit},
    "vit+spt+lsa": {"model": _vit},
    "cct-2": {
        "model": _named("cct-2/3x2"),
        "train": {"learning_rate": 6e-4, "weight_decay": 0.06},
    },
    "resnet20": {
        "model": _named("resnet20"),
        "train": {
            "optimizer": "sgd",
            "momentum": 0.9,
            "learning_rate": 0.1,
            "weight_decay": 1e-3,
            "decay_rule": "scaled",
        },
    },
}

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
                "spt": {"model": _NO_TEMPERATURE | _NO_MASK},
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
