"""What an experiment is: plain frozen dataclasses, JSON in and out, checked when they are made.

This is the one place where a setting, its default and its explanation live: the command line, the
recipes and the run directories are all made from these classes and from those of the model
families (`small_vit.models`). The defaults are the Keras example's (`vit_small_ds`).
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from small_vit.models.registry import model_config
from small_vit.settings import Settings

CHECKPOINT_MINUTES = 5.0
"""Within an epoch, a checkpoint is saved this often."""

DecayKind = Literal["bias", "norm", "temperature", "position"]


@dataclass(frozen=True)
class AugmentConfig(Settings):
    """Random changes to the training images, drawn anew for every image."""

    flip: bool = True
    """Mirror left to right with probability 1/2."""
    rotation: float = 0.02
    """Largest rotation either way, in turns (0.02 is 7.2 degrees)."""
    zoom: float = 0.2
    """Largest zoom in or out, height and width drawn apart (0.2 is ±20 %)."""
    translation: float = 0.0
    """Largest shift either way, as a fraction of the side (0.125 is 4 of 32 pixels)."""
    crop_padding: int = 0
    """Crop at random out of the raw image with this many black pixels around it."""
    auto_augment: bool = False
    """AutoAugment's policy for CIFAR-10."""
    erasing: float = 0.0
    """Probability to erase a rectangle of the raw image."""
    erasing_fill: Literal["raw_mean", "mean"] = "raw_mean"
    """What is erased becomes, once normalised, the channel means as they were before that (the
    paper's code), or zero."""
    mix: float = 0.0
    """Probability to mix a batch, by CutMix or MixUp with equal chance."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("rotation", "translation", "crop_padding"):
            self._require(getattr(self, name) >= 0, name, "at least 0")
        for name in ("erasing", "mix"):
            self._require(0 <= getattr(self, name) <= 1, name, "0 to 1")
        self._require(0 <= self.zoom < 1, "zoom", "at least 0 and below 1")


@dataclass(frozen=True)
class DataConfig(Settings):
    """Which images, and which of them are held out."""

    dataset: str = "cifar100"
    """cifar100, cifar100-coarse, cifar10, fashion_mnist, or digits (embedded, no download)."""
    data_dir: str | None = None
    """Folder that holds the published files (cifar-100-python/ or its .tar.gz). Default: Keras's
    download cache."""
    train_examples: int | None = None
    """Train on this many images only, as many of each class. Default: all but those held out."""
    validation_fraction: float = 0.1
    """Part of the training images held out for validation; the statistics that images are
    normalised by are over all of them, as in the example."""
    validation_split: Literal["last", "stratified", "none", "test"] = "last"
    """Hold out the last images as they lie (the Keras example), or the same part of each class;
    none trains on every image and has no validation. test, as in the paper's code, trains on every
    image and watches the test set after each epoch: its figures are then no validation, and the
    best of them is reported as best on test, beside the last epoch's."""

    def __post_init__(self):
        super().__post_init__()
        self._require(0 < self.validation_fraction < 1, "validation_fraction", "between 0 and 1")
        if self.train_examples is not None:
            self._require(self.train_examples >= 1, "train_examples", "at least 1")


@dataclass(frozen=True)
class TrainConfig(Settings):
    """How the weights are found."""

    epochs: int = 50
    """Passes over the training images, or so many times passes_per_epoch of them."""
    passes_per_epoch: int = 1
    """Make an epoch this many passes, each in an order of its own (three in the paper's code)."""
    batch_size: int = 256
    """Images a step, over all devices together."""
    drop_last: bool = False
    """Leave the smaller last batch of an epoch out."""
    learning_rate: float = 1e-3
    """The (largest) learning rate."""
    schedule: Literal["constant", "warmup_cosine"] = "constant"
    """Constant, or a linear warm-up to the learning rate and a cosine down from it."""
    warmup_fraction: float = 0.1
    """Part of all steps spent warming up (warmup_cosine only)."""
    final_learning_rate: float = 0.0
    """Where the cosine ends (warmup_cosine only)."""
    weight_decay: float = 1e-4
    """AdamW's weight decay, under the decay rule below."""
    decay_rule: Literal["decoupled", "scaled"] = "decoupled"
    """What a step takes off each weight: weight_decay (tensorflow-addons) or
    learning rate x weight_decay (Keras, PyTorch)."""
    optimizer: Literal["adamw", "sgd", "muon", "lion", "schedule_free"] = "adamw"
    """AdamW, or Keras's SGD, Muon, Lion or ScheduleFreeAdamW."""
    momentum: float = 0.9
    """Momentum of SGD."""
    adam_epsilon: float = 1e-7
    """Added to the root of AdamW's second moment."""
    clip_norm: float = 0.0
    """Largest norm of the gradient of all weights together; a longer one is scaled down to it. 0
    leaves gradients as they are."""
    ema_momentum: float = 0.0
    """Average the weights over the steps by this momentum, and test the averages (0.999, for
    instance). Validation is of the weights as they are. 0 averages nothing."""
    decay_exclude: tuple[DecayKind, ...] = ()
    """Kinds of variables that do not decay. Default: everything decays, as in both references."""
    label_smoothing: float = 0.0
    """Part of the target spread over all classes."""
    seed: int = 0
    """Draws the weights, the held-out images, the order of the batches, dropout, augmentation."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the arithmetic; weights stay float32."""
    strategy: Literal["auto", "cpu", "gpu", "multi-gpu", "tpu"] = "auto"
    """Where to train: auto takes the TPU, else all GPUs, else the CPU."""
    deterministic: bool = False
    """Ask the backend for bitwise reproducible operations (slower)."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("epochs", "passes_per_epoch", "batch_size"):
            self._require(getattr(self, name) >= 1, name, "at least 1")
        for name in ("learning_rate", "adam_epsilon"):
            self._require(getattr(self, name) > 0, name, "above 0")
        self._require(
            0 <= self.final_learning_rate <= self.learning_rate,
            "final_learning_rate",
            f"0 to learning_rate={self.learning_rate}",
        )
        self._require(self.weight_decay >= 0, "weight_decay", "at least 0")
        self._require(0 <= self.seed < 2**32, "seed", "at least 0 and below 2**32")
        self._require(self.clip_norm >= 0, "clip_norm", "at least 0")
        self._require(
            self.optimizer == "adamw" or self.decay_rule == "scaled",
            "decay_rule",
            f"'scaled' for optimizer={self.optimizer!r}: only AdamW has the other rule",
        )
        self._require(
            self.optimizer != "schedule_free" or self.schedule == "constant",
            "schedule",
            "'constant' for optimizer='schedule_free', which needs no schedule",
        )
        for name in ("warmup_fraction", "label_smoothing", "momentum", "ema_momentum"):
            self._require(0 <= getattr(self, name) < 1, name, "at least 0 and below 1")
        kinds = get_args(DecayKind)
        self._require(set(self.decay_exclude) <= set(kinds), "decay_exclude", f"among {kinds}")
        object.__setattr__(self, "decay_exclude", tuple(sorted(set(self.decay_exclude))))


@dataclass(frozen=True)
class ExperimentConfig:
    """Everything that decides the numbers of one training run."""

    recipe: str = "custom"
    """Name of the recipe this started from."""
    arm: str = "custom"
    """What a table calls this experiment: the name that a sweep gives it, or its recipe."""
    model: Settings = field(default_factory=model_config)
    """Of any family (`small_vit.models.registry`)."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def replace(self, **changes: Any) -> "ExperimentConfig":
        """Return a copy in which each section named has the changes given for it.

        Args:
            **changes: `recipe="name"`, or a section and a dict of its new values:
                `train={"epochs": 10}`.
        """
        sections = {
            name: getattr(self, name).replace(**change) if isinstance(change, dict) else change
            for name, change in changes.items()
        }
        return dataclasses.replace(self, **sections)

    def to_dict(self) -> dict:
        """Return nested plain values, ready for JSON."""
        return dataclasses.asdict(self) | {"model": _model_to_dict(self.model)}

    @classmethod
    def from_dict(cls, values: dict) -> "ExperimentConfig":
        """Make the config that `to_dict` (and JSON) wrote."""
        return cls(
            recipe=values["recipe"],
            arm=values["arm"],
            model=model_config(**values["model"]),
            augment=AugmentConfig(**values["augment"]),
            data=DataConfig(**values["data"]),
            train=TrainConfig(**values["train"]),
        )

    def differences(self, other: "ExperimentConfig") -> list[str]:
        """List the fields in which two configs differ, as "train.epochs: 50 -> 10".

        Where the data lies is no difference: its fingerprint says what lies there.
        """
        mine, theirs = self._flat(), other._flat()
        return [
            f"{key}: {mine.get(key)} -> {theirs.get(key)}"
            for key in mine | theirs
            if mine.get(key) != theirs.get(key) and key != "data.data_dir"
        ]

    def _flat(self) -> dict:
        flat = {}
        for name, section in self.to_dict().items():
            if isinstance(section, dict):
                flat |= {f"{name}.{key}": value for key, value in section.items()}
            else:
                flat[name] = section
        return flat


def _model_to_dict(model):
    return {"kind": model.kind} | dataclasses.asdict(model)
