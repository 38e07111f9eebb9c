"""The settings of an experiment: frozen dataclasses, checked when made, saved as JSON.

Each setting, its default and its explanation are defined only here. The command line, the recipes
and the run directories are made from these classes and from those of the model families
(`small_vit.models`). The defaults are the Keras example's (`vit_small_ds`).
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from small_vit.errors import InputError
from small_vit.models.registry import model_config
from small_vit.settings import Settings

CHECKPOINT_MINUTES = 5.0
"""Within an epoch, a checkpoint is saved this often."""

BACKBONE = "backbone"
"""What `freeze` calls all layers before the head."""

DecayKind = Literal["bias", "norm", "temperature", "position"]


@dataclass(frozen=True)
class AugmentConfig(Settings):
    """Random changes to the training images, drawn separately for every image."""

    flip: bool = True
    """Mirror left to right with probability 1/2."""
    rotation: float = 0.02
    """Largest rotation either way, in turns (0.02 is 7.2 degrees)."""
    zoom: float = 0.2
    """Largest zoom in or out, drawn separately for height and width (0.2 is ±20 %)."""
    translation: float = 0.0
    """Largest shift either way, as a fraction of the side (0.125 is 4 of 32 pixels)."""
    crop_padding: int = 0
    """Padded crop: pad the raw image with this many black pixels on each side, then crop it at
    random to its size."""
    auto_augment: bool = False
    """AutoAugment's policy for CIFAR-10."""
    erasing: float = 0.0
    """Probability to erase a rectangle of the raw image."""
    erasing_fill: Literal["raw_mean", "mean"] = "raw_mean"
    """Value of the erased pixels after normalisation: the channel means of the raw pixels (the
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


_OF_FOLDERS = (
    *("test_fraction", "split_seed", "group_by", "fit", "skip_unreadable", "drop_duplicates"),
    "cache_dir",
)


@dataclass(frozen=True)
class DataConfig(Settings):
    """Which images, and which of them are held out."""

    dataset: str = "cifar100"
    """cifar100, cifar100-coarse, cifar10, fashion_mnist, digits (embedded, no download), or folder:
    your own images."""
    data_dir: str | None = None
    """Folder that holds the published files (cifar-100-python/ or its .tar.gz). Default: Keras's
    download cache. For dataset folder: your folder of images, or a CSV or JSON-lines file of their
    paths and labels."""
    train_examples: int | None = None
    """Train on this many images only, equally many of each class. Default: all except those held
    out."""
    validation_fraction: float = 0.1
    """Part of the training images held out for validation. The statistics for normalisation are
    over all training images, as in the example."""
    validation_split: Literal["last", "stratified", "none", "test"] = "last"
    """last: hold out the last images, unshuffled (the Keras example). stratified: hold out the same
    part of each class. none: train on every image, without validation. test: train on every image
    and evaluate on the test set after each epoch (the paper's code). These figures are then no
    validation; the best one is reported as best on test, next to the last epoch's."""
    test_fraction: float = 0.1
    """Part of a folder's images held out as test set, if the folder has none (dataset folder
    only)."""
    split_seed: int = 0
    """Seed of the division of a folder's images. It is not the seed of the training, so that all
    seeds are tested on the same images (dataset folder only)."""
    group_by: str | None = None
    """Regular expression on a file's path. Images with the same match, or the same capture groups,
    stay in one part of the split: those of one patient, scene or burst (dataset folder only)."""
    fit: Literal["crop", "squash", "pad"] = "crop"
    """How an image becomes image_size: crop its centre to the proportions, squash it, or pad it
    with black (dataset folder only)."""
    skip_unreadable: bool = False
    """Leave out files that cannot be read as images (dataset folder only)."""
    drop_duplicates: bool = False
    """Leave out images that occur more than once: all copies if their labels differ, otherwise all
    but one, preferably one in the test set. Images in training or validation that only look like
    one in a later part are left out too (dataset folder only)."""
    positive: str | None = None
    """Of two classes, the one that precision, recall, F1 and the threshold are about. Default: the
    rarer one in training."""
    cache_dir: str | None = None
    """Folder in which decoded images are kept for later runs (dataset folder only). Default:
    ~/.cache/small_vit/folders."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("validation_fraction", "test_fraction"):
            self._require(0 < getattr(self, name) < 1, name, "between 0 and 1")
        if self.dataset == "folder" and self.data_dir is not None:
            # A run is resumed and reported on from other folders too.
            absolute = str(Path(self.data_dir).expanduser().resolve())
            object.__setattr__(self, "data_dir", absolute)
        if self.dataset != "folder":
            self._refuse_settings_of_folders()
        self._require(0 <= self.split_seed < 2**32, "split_seed", "at least 0 and below 2**32")
        if self.train_examples is not None:
            self._require(self.train_examples >= 1, "train_examples", "at least 1")

    @property
    def name(self):
        """Name of the dataset in tables and files; for a folder its own name."""
        if self.dataset != "folder" or self.data_dir is None:
            return self.dataset
        return Path(self.data_dir).name

    def _refuse_settings_of_folders(self):
        defaults = {each.name: each.default for each in dataclasses.fields(self)}
        for name in _OF_FOLDERS:
            self._require(
                getattr(self, name) == defaults[name],
                name,
                f"left out for dataset={self.dataset!r}: it is for folders of images",
            )


@dataclass(frozen=True)
class TrainConfig(Settings):
    """How the model is trained."""

    epochs: int = 50
    """Epochs; each is passes_per_epoch passes over the training images."""
    passes_per_epoch: int = 1
    """Passes over the training images in an epoch, each newly shuffled (the paper's code: 3)."""
    batch_size: int = 256
    """Images per step, over all devices together."""
    drop_last: bool = False
    """Leave out the smaller last batch of an epoch."""
    learning_rate: float = 1e-3
    """The (largest) learning rate."""
    init_from: str | None = None
    """Start from the weights of a trained model: the folder of a run, or its model.keras. Default:
    random weights."""
    freeze: tuple[str, ...] = ()
    """Layers that are not trained: backbone, which is all but the head, or layers by name (block_0,
    …). A ResNet's block_0 is its first stage, block_0_1 the second block of that."""
    layer_decay: float = 1.0
    """Factor by which the learning rate falls from each block to the one before it, from the head
    down (AdamW only; for instance 0.9). 1: all layers learn at one rate."""
    schedule: Literal["constant", "warmup_cosine"] = "constant"
    """Constant, or a linear warm-up to the learning rate and a cosine down from it."""
    warmup_fraction: float = 0.1
    """Part of all steps spent warming up (warmup_cosine only)."""
    final_learning_rate: float = 0.0
    """Where the cosine ends (warmup_cosine only)."""
    weight_decay: float = 1e-4
    """Weight decay of the optimizer; AdamW's is under the decay rule below."""
    decay_rule: Literal["decoupled", "scaled"] = "decoupled"
    """Fraction by which a step shrinks each weight: weight_decay (tensorflow-addons) or
    learning rate x weight_decay (Keras, PyTorch)."""
    optimizer: Literal["adamw", "sgd", "muon", "lion", "schedule-free"] = "adamw"
    """AdamW, or Keras's SGD, Muon, Lion or ScheduleFreeAdamW."""
    momentum: float = 0.9
    """Momentum of SGD, in Nesterov's form."""
    adam_epsilon: float = 1e-7
    """Added to the root of AdamW's second moment."""
    clip_norm: float = 0.0
    """Clip the norm of the gradient, over all weights together, to this value. 0 clips nothing."""
    ema_momentum: float = 0.0
    """Momentum of an exponential moving average of the weights (for instance 0.999). The averages
    are tested; validation uses the current weights. 0 averages nothing."""
    decay_exclude: tuple[DecayKind, ...] = ()
    """Kinds of variables that do not decay. Default: everything decays, as in both references."""
    label_smoothing: float = 0.0
    """Part of the target spread over all classes."""
    loss: Literal["cross_entropy", "focal"] = "cross_entropy"
    """Cross-entropy, which is the negative log-likelihood of the log-softmax of the logits, or the
    focal loss, in which examples that are classified well count less."""
    focal_gamma: float = 2.0
    """Exponent of the focal loss."""
    class_weights: tuple[str, ...] = ()
    """Weights of the classes in the loss: balanced (inversely proportional to the number of
    training images), none, or NAME=WEIGHT for some classes; the others weigh 1."""
    balanced_sampling: bool = False
    """Draw the images of an epoch so that all classes are equally frequent, with repetition."""
    sam_rho: float = 0.0
    """Sharpness-aware minimisation: distance by which the weights are perturbed before the gradient
    is taken (for instance 0.05, or 0.5 with sam_adaptive). 0 trains without."""
    sam_adaptive: bool = False
    """Scale the perturbation by the size of each weight (ASAM)."""
    keep: Literal["last", "best"] = "last"
    """Weights that are tested and saved: of the last epoch, or of the epoch with the highest
    validation accuracy."""
    patience: int = 0
    """Stop after this many epochs without a new best validation accuracy. 0 trains all epochs."""
    calibrate: bool = False
    """After training, scale the logits so that the loss on the validation images is lowest
    (temperature scaling). No image's class changes."""
    seed: int = 0
    """Seed of weights, held-out images, order of the batches, dropout and augmentation."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the computation; weights stay float32."""
    strategy: Literal["auto", "cpu", "gpu", "multi-gpu", "tpu"] = "auto"
    """Where to train: auto takes the TPU, else all GPUs, else the CPU."""
    deterministic: bool = False
    """Ask the backend for bitwise reproducible operations (slower)."""

    def __post_init__(self):
        super().__post_init__()
        self._normalise()
        self._check_ranges()
        self._check_optimizer()
        self._require(
            not (self.balanced_sampling and self.class_weights),
            "balanced_sampling",
            f"left out with class_weights={self.class_weights}: together they correct twice",
        )

    def _check_ranges(self):
        for name in ("epochs", "passes_per_epoch", "batch_size"):
            self._require(getattr(self, name) >= 1, name, "at least 1")
        for name in ("learning_rate", "adam_epsilon"):
            self._require(getattr(self, name) > 0, name, "above 0")
        for name in ("weight_decay", "clip_norm", "focal_gamma", "sam_rho", "patience"):
            self._require(getattr(self, name) >= 0, name, "at least 0")
        for name in ("warmup_fraction", "label_smoothing", "momentum", "ema_momentum"):
            self._require(0 <= getattr(self, name) < 1, name, "at least 0 and below 1")
        self._require(
            0 <= self.final_learning_rate <= self.learning_rate,
            "final_learning_rate",
            f"0 to learning_rate={self.learning_rate}",
        )
        self._require(0 < self.layer_decay <= 1, "layer_decay", "above 0 and at most 1")
        self._require(0 <= self.seed < 2**32, "seed", "at least 0 and below 2**32")
        kinds = get_args(DecayKind)
        self._require(set(self.decay_exclude) <= set(kinds), "decay_exclude", f"among {kinds}")

    def _check_optimizer(self):
        self._require(
            self.optimizer == "adamw" or self.layer_decay == 1,
            "layer_decay",
            f"1 for optimizer={self.optimizer!r}: only AdamW has rates by layer",
        )
        self._require(
            self.optimizer == "adamw" or self.decay_rule == "scaled",
            "decay_rule",
            f"'scaled' for optimizer={self.optimizer!r}: only AdamW has the other rule",
        )
        self._require(
            self.optimizer != "schedule-free" or self.schedule == "constant",
            "schedule",
            "'constant' for optimizer='schedule-free', which needs no schedule",
        )
        self._require(
            self.optimizer != "schedule-free" or not self.ema_momentum,
            "ema_momentum",
            "0 for optimizer='schedule-free', which averages the weights itself",
        )
        self._require(
            self.keep == "last" or not self.averages_weights,
            "keep",
            "'last' with ema_momentum or schedule-free: the averages are known at the end only",
        )
        self._require(
            self.sam_rho > 0 or not self.sam_adaptive, "sam_adaptive", "left out without sam_rho"
        )

    def _normalise(self):
        """Give settings that mean the same the same value."""
        if self.init_from is not None:
            # A run is resumed from other folders too.
            absolute = str(Path(self.init_from).expanduser().resolve())
            object.__setattr__(self, "init_from", absolute)
        if self.class_weights == ("none",):
            object.__setattr__(self, "class_weights", ())
        for name in ("freeze", "decay_exclude"):
            object.__setattr__(self, name, tuple(sorted(set(getattr(self, name)))))

    @property
    def averages_weights(self):
        """Whether the test is of weights that were averaged over training."""
        return self.ema_momentum > 0 or self.optimizer == "schedule-free"

    @property
    def init_name(self):
        """Name of the run or file that it starts from, whose model.keras may be given; or None."""
        if self.init_from is None:
            return None
        path = Path(self.init_from)
        return path.parent.name if path.name == "model.keras" else path.name


@dataclass(frozen=True)
class ExperimentConfig:
    """All settings of one training run."""

    recipe: str = "custom"
    """Name of the recipe this started from."""
    arm: str = "custom"
    """Name of this experiment in tables: given by a sweep or a recipe."""
    model: Settings = field(default_factory=model_config)
    """Model settings, of any family (`small_vit.models.registry`)."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self):
        if self.data.validation_split in ("none", "test"):
            for name, off in (("keep", "last"), ("patience", 0), ("calibrate", False)):
                if getattr(self.train, name) != off:
                    raise InputError(
                        f"{name}={getattr(self.train, name)} needs validation images. Received: "
                        f"validation_split={self.data.validation_split!r}."
                    )

    def replace(self, **changes):
        """Return a copy with changes to some sections.

        Args:
            **changes: `recipe="name"`, or a section and a dict of its new values:
                `train={"epochs": 10}`.
        """
        sections = {
            name: getattr(self, name).replace(**change) if isinstance(change, dict) else change
            for name, change in changes.items()
        }
        return dataclasses.replace(self, **sections)

    def to_dict(self):
        """Return nested plain values, ready for JSON."""
        return dataclasses.asdict(self) | {"model": _model_to_dict(self.model)}

    @classmethod
    def from_dict(cls, values):
        """Make the config that `to_dict` (and JSON) wrote."""
        return cls(
            recipe=values["recipe"],
            arm=values["arm"],
            model=model_config(**values["model"]),
            augment=AugmentConfig(**values["augment"]),
            data=DataConfig(**values["data"]),
            train=TrainConfig(**values["train"]),
        )

    def differences(self, other):
        """List the fields in which two configs differ, as "train.epochs: 50 -> 10".

        The folders of the data and of the cache are left out, except for the name of a folder of
        images: the data is identified by its fingerprint. So are initial weights, of which only the
        name of their run or file counts.
        """
        mine, theirs = self._flat(), other._flat()
        return [
            f"{key}: {mine.get(key, 'absent')} -> {theirs.get(key, 'absent')}"
            for key in mine | theirs
            if mine.get(key, "absent") != theirs.get(key, "absent")
        ]

    def _flat(self):
        flat = {}
        for name, section in self.to_dict().items():
            if isinstance(section, dict):
                flat |= {f"{name}.{key}": value for key, value in section.items()}
            else:
                flat[name] = section
        del flat["data.data_dir"], flat["data.cache_dir"]
        flat["train.init_from"] = self.train.init_name
        if self.data.dataset == "folder":
            flat["data.folder"] = self.data.name
        return flat


def _model_to_dict(model):
    return {"kind": model.kind} | dataclasses.asdict(model)
