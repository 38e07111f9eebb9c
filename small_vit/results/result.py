"""The final numbers of a run."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Result:
    """The final numbers of one run.

    Fractions are of 1, losses are cross-entropies without smoothing, seconds are wall-clock.
    """

    recipe: str
    dataset: str
    arm: str
    """The name that a sweep or recipe gave the experiment."""
    seed: int
    metrics: dict[str, float]
    """Of the test set (`small_vit.results.metrics.full_metrics`)."""
    validation: dict[str, float]
    """The last epoch's `loss`, `accuracy` and `top5_accuracy`; empty without validation."""
    train_examples: int
    trainable_parameters: int
    forward_flops: int
    """Of the matrix products in one image's forward pass, counted from their shapes."""
    epochs: int
    batch_size: int
    seconds: float
    seconds_per_epoch: float
    precision: str
    backend: str
    device: str
    versions: dict[str, str]
    commit: str
    command: str
    data_fingerprint: str
    passes_per_epoch: int = 1
    """Of the training images."""
    changes: list[str] = field(default_factory=list)
    """How the config differs from the recipe's of this arm, beside the seed and the devices."""
    best_on_test: dict[str, float] = field(default_factory=dict)
    """The best epoch's `accuracy` and `top5_accuracy` on the test set, where that was watched
    (`validation_split="test"`)."""
    train_seconds: float | None = None
    """From the end of the first step, whose program is compiled by then, to the end of the last
    epoch, with validation, what is compiled for it, and checkpoints; None for a resumed run."""
    start_seconds: float | None = None
    """From the start of the process to the end of the first step: imports, data, compilation, and
    earlier runs of the same process; None for a resumed run."""
    peak_memory_mb: int | None = None
    """Largest resident set of the process by the run's end, earlier runs of the same process
    included; None where the system does not say."""
    config_hash: str = ""
    """Of the config; given when the result becomes a row (`small_vit.results.rows`)."""


def passes_suffix(run):
    """Return " (3 passes each)" where an epoch of a run, or of its config, has several passes."""
    return f" ({run.passes_per_epoch} passes each)" if run.passes_per_epoch > 1 else ""
