"""What an experiment is: plain frozen dataclasses, JSON in and out, checked when they are made.

This is the one place where a setting, its default and its explanation live: the command line, the
recipes and the run directories are all made from these classes. The defaults are the Keras
example's (`vit_small_ds`), so `ModelConfig()` is its SPT+LSA model.
"""

import dataclasses
import math
import operator
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Literal, get_args, get_origin, get_type_hints

from small_vit.errors import InputError

Size = int | tuple[int, int]
DecayKind = Literal["bias", "norm", "temperature", "position"]


def as_pair(size: Size) -> tuple[int, int]:
    """Return `size` as `(height, width)`; an int stands for both.

    Raises:
        InputError: if `size` is not a positive int or a pair of them.
    """
    pair = tuple(size) if isinstance(size, tuple | list) else (size, size)
    try:
        # NumPy's integers are welcome, True is no size.
        height, width = (operator.index(side) if side is not True else 0 for side in pair)
    except (TypeError, ValueError):
        height = width = 0
    if height < 1 or width < 1:
        raise InputError(
            f"A size is a positive int or a (height, width) of two. Received: {size!r}."
        )
    return height, width


def whole_shift(patch_size: Size, shift_ratio: float) -> tuple[int, int]:
    """Return how far SPT shifts, `(down, right)` in pixels, rounded down as in the references."""
    # 100 * 0.29 is 28.999999999999996.
    return tuple(int(side * shift_ratio + 1e-9) for side in as_pair(patch_size))


def _is_whole(value):
    return isinstance(value, int) and not isinstance(value, bool)


class _Checked:
    """Gives a dataclass checks that read off its annotations, and a copy with changes.

    A value that can be written in several ways is kept in one, so that equal settings are equal:
    3 is 3.0 where a float is asked for, a size of (32, 32) is 32, a list is a tuple, a stride of
    the patch size is none, and kinds of variables have an order.
    """

    def __post_init__(self):
        for name, hint in get_type_hints(type(self)).items():
            choices = get_args(hint) if get_origin(hint) is Literal else None
            value = getattr(self, name)
            if choices and value not in choices:
                raise InputError(f"{name} is one of {choices}. Received: {value!r}.")
            if hint is int or (hint == int | None and value is not None):
                self._require(_is_whole(value), name, "a whole number")
            elif hint is bool:
                self._require(isinstance(value, bool), name, "True or False")
            elif hint is float:
                finite = isinstance(value, Real) and math.isfinite(value)
                self._require(finite, name, "a finite number")
                object.__setattr__(self, name, float(value))
            elif get_origin(hint) is tuple:
                self._require(isinstance(value, tuple | list), name, "a tuple")
                object.__setattr__(self, name, tuple(value))
            elif hint in (Size, Size | None) and value is not None:
                height, width = as_pair(value)
                size = height if height == width else (height, width)
                object.__setattr__(self, name, size)

    def _require(self, holds: bool, name: str, rule: str) -> None:
        if not holds:
            raise InputError(f"{name} must be {rule}. Received: {getattr(self, name)!r}.")

    def replace(self, **changes):
        """Return a copy with `changes` applied, checked like a new one."""
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True)
class ModelConfig(_Checked):
    """The Vision Transformer: tokens, blocks, head."""

    image_size: Size = 72
    """Side of the square the images are resized to inside the model, or (height, width)."""
    patch_size: Size = 6
    """Side of a patch in pixels, or (height, width)."""
    stride: Size | None = None
    """Step from one patch to the next; smaller than the patch makes patches overlap. Default: the
    patch size."""
    shifts: Literal["none", "diagonal", "cardinal", "all"] = "diagonal"
    """SPT: the directions of the shifted copies seen by each patch."""
    shift_ratio: float = 0.5
    """SPT: length of the shift in patch sizes."""
    patch_norm: bool = True
    """SPT: LayerNorm of the flattened patch before its projection."""
    position_embedding: Literal["none", "learned", "sincos1d", "sincos2d"] = "learned"
    """What tells the tokens where they are."""
    embedding_initializer: Literal["uniform", "standard_normal"] = "uniform"
    """Start of learned positions and class token: U(-0.05, 0.05) as in Keras, N(0, 1) as in the
    paper."""
    projection_dim: int = 64
    """Width of a token."""
    num_layers: int = 8
    """Number of transformer blocks."""
    num_heads: int = 4
    """Attention heads in a block."""
    key_dim: int = 64
    """Width of one head."""
    qkv_bias: bool = True
    """Whether query, key and value projections have a bias."""
    temperature: Literal["none", "layer", "head"] = "layer"
    """LSA: the learned softmax temperature: none (fixed at sqrt(key_dim)), one a layer, one a
    head."""
    temperature_form: Literal["divisor", "multiplier"] = "divisor"
    """LSA: scores are divided by a variable that starts at sqrt(key_dim) (the Keras example) or
    multiplied by one that starts at 1/sqrt(key_dim) (the paper's code)."""
    diagonal_mask: bool = True
    """LSA: whether a token is kept from attending to itself."""
    attention_dropout: float = 0.1
    """Dropout of the attention probabilities."""
    mlp_ratio: float = 2.0
    """Hidden width of a block's MLP in token widths."""
    mlp_output_activation: bool = True
    """Whether GELU follows the second Dense of the MLP too, as in the Keras example."""
    dropout: float = 0.1
    """Dropout after each Dense of the MLP."""
    stochastic_depth: float = 0.0
    """Probability to skip a residual branch for an example."""
    stochastic_depth_rule: Literal["constant", "linear"] = "constant"
    """That probability at every depth (the paper's code), or rising to it at the last block."""
    norm_epsilon: float = 1e-6
    """Epsilon of the LayerNorms."""
    pooling: Literal["flatten", "class_token", "mean"] = "flatten"
    """How the tokens become one vector."""
    head_units: tuple[int, ...] = (2048, 1024)
    """Hidden layers between that vector and the logits."""
    head_dropout: float = 0.5
    """Dropout before the head and after each of its hidden layers."""
    kernel_initializer: Literal["glorot_uniform", "xavier_normal"] = "glorot_uniform"
    """Start of all kernels: uniform as in Keras, or normal as in the paper's code, both with the
    variance 2 / (fan_in + fan_out)."""
    attention_fans: Literal[
        "axes", "keras2", "keras2_query_key", "keras2_value", "keras2_output", "joint_qkv"
    ] = "keras2"
    """How attention's kernels count their fans, and so how large they start: axes as in Keras 3.15;
    keras2 as in the Keras of 2022 (the Keras example), for all of them or for some alone; joint_qkv
    with query, key and value as one kernel (the paper's code)."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("projection_dim", "num_heads", "key_dim"):
            self._require(getattr(self, name) >= 1, name, "at least 1")
        self._require(self.num_layers >= 0, "num_layers", "at least 0")
        self._require(self.mlp_ratio * self.projection_dim >= 1, "mlp_ratio", "large enough")
        self._require(self.shift_ratio >= 0, "shift_ratio", "at least 0")
        self._require(
            self.shifts == "none"
            or not self.shift_ratio
            or any(whole_shift(self.patch_size, self.shift_ratio)),
            "shift_ratio",
            f"0 or a pixel of patch_size={self.patch_size} at least",
        )
        positive = all(_is_whole(units) and units >= 1 for units in self.head_units)
        self._require(positive, "head_units", "positive ints")
        self._require(self.norm_epsilon > 0, "norm_epsilon", "above 0")
        for name in ("attention_dropout", "dropout", "stochastic_depth", "head_dropout"):
            self._require(0 <= getattr(self, name) < 1, name, "at least 0 and below 1")
        image, patch = as_pair(self.image_size), as_pair(self.patch_size)
        self._require(
            patch[0] <= image[0] and patch[1] <= image[1],
            "patch_size",
            f"no larger than image_size={self.image_size}",
        )
        if self.stride == self.patch_size:
            object.__setattr__(self, "stride", None)
        divisor = {"sincos1d": 2, "sincos2d": 4}.get(self.position_embedding, 1)
        self._require(
            self.projection_dim % divisor == 0,
            "projection_dim",
            f"divisible by {divisor} for position_embedding={self.position_embedding!r}",
        )

    @property
    def arm(self) -> str:
        """The parts of the paper that are on: "vanilla", "spt", "lsa", "spt+lsa", …"""
        spt = ["spt"] * (self.shifts != "none")
        spt = spt or ["norm"] * self.patch_norm
        lsa = ["temperature"] * (self.temperature != "none") + ["mask"] * self.diagonal_mask
        parts = spt + (["lsa"] if len(lsa) == 2 else lsa)
        return "+".join(parts) or "vanilla"

    def vanilla(self) -> "ModelConfig":
        """Return the same model without the paper's parts: no shifts, no patch norm, no LSA."""
        return self.replace(**VANILLA)


VANILLA = {"shifts": "none", "patch_norm": False, "temperature": "none", "diagonal_mask": False}
"""The paper's parts, off: in these fields of `ModelConfig` the arms of a comparison differ."""


@dataclass(frozen=True)
class AugmentConfig(_Checked):
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
class DataConfig(_Checked):
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
    validation_split: Literal["last", "stratified", "test"] = "last"
    """Hold out the last images as they lie (the Keras example), or the same part of each class; or
    hold out nothing and watch the test set, as the paper's code does: its figures are then no
    validation, and the best of them is reported as best on test, beside the last epoch's."""

    def __post_init__(self):
        super().__post_init__()
        self._require(0 < self.validation_fraction < 1, "validation_fraction", "between 0 and 1")
        if self.train_examples is not None:
            self._require(self.train_examples >= 1, "train_examples", "at least 1")


@dataclass(frozen=True)
class TrainConfig(_Checked):
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
    adam_epsilon: float = 1e-7
    """Added to the root of AdamW's second moment."""
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
        for name in ("warmup_fraction", "label_smoothing"):
            self._require(0 <= getattr(self, name) < 1, name, "at least 0 and below 1")
        kinds = get_args(DecayKind)
        self._require(set(self.decay_exclude) <= set(kinds), "decay_exclude", f"among {kinds}")
        object.__setattr__(self, "decay_exclude", tuple(sorted(set(self.decay_exclude))))


@dataclass(frozen=True)
class ExperimentConfig:
    """Everything that decides the numbers of one training run."""

    recipe: str = "custom"
    """Name of the recipe this started from."""
    model: ModelConfig = field(default_factory=ModelConfig)
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
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "ExperimentConfig":
        """Make the config that `to_dict` (and JSON) wrote."""
        sections = {
            "model": ModelConfig,
            "augment": AugmentConfig,
            "data": DataConfig,
            "train": TrainConfig,
        }
        # Runs from before there was this setting started as Keras 3.15 does.
        values = values | {"model": {"attention_fans": "axes"} | values["model"]}
        read = {name: section(**values[name]) for name, section in sections.items()}
        return cls(recipe=values["recipe"], **read)

    def differences(self, other: "ExperimentConfig") -> list[str]:
        """List the fields in which two configs differ, as "train.epochs: 50 -> 10".

        Where the data lies is no difference: what lies there is told by its fingerprint.
        """
        mine, theirs = self._flat(), other._flat()
        return [
            f"{key}: {mine[key]} -> {theirs[key]}"
            for key in mine
            if mine[key] != theirs[key] and key != "data.data_dir"
        ]

    def _flat(self) -> dict:
        flat = {}
        for name, section in self.to_dict().items():
            if isinstance(section, dict):
                flat |= {f"{name}.{key}": value for key, value in section.items()}
            else:
                flat[name] = section
        return flat
