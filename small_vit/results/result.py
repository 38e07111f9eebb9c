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
    """Metrics on the test set (`small_vit.results.evaluation`)."""
    validation: dict[str, float]
    """The `loss`, `accuracy` and `top5_accuracy` of the epoch whose weights are tested; empty
    without validation."""
    train_examples: int
    trainable_parameters: int
    forward_flops: int
    """FLOPs of the matrix products in one image's forward pass, counted from their shapes."""
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
    init_fingerprint: str | None = None
    """Digest of the file of initial weights; None for a run that started from random ones."""
    passes_per_epoch: int = 1
    """Passes over the training images in an epoch."""
    changes: list[str] = field(default_factory=list)
    """Differences of the config from its recipe and arm, without seed and devices."""
    best_on_test: dict[str, float] = field(default_factory=dict)
    """The best epoch's `accuracy` and `top5_accuracy` on the test set, for a run that evaluates on
    it after each epoch (`validation_split="test"`); else empty."""
    train_seconds: float | None = None
    """From the end of the first step, after its compilation, to the end of the last epoch. Includes
    validation with its compilation, and checkpoints. None for a resumed run."""
    start_seconds: float | None = None
    """From the start of the process to the end of the first step: imports, data and compilation.
    Earlier runs in the same process are included. None for a resumed run."""
    peak_memory_mb: int | None = None
    """Peak resident memory of the process at the end of the run. Earlier runs in the same process
    are included. None if the system does not report it."""
    intervals: dict[str, list[float]] = field(default_factory=dict)
    """`[low, high]` by metric: its 95 % bootstrap interval over the test images."""
    kept_epoch: int | None = None
    """The epoch whose weights are tested, counted from 1, for a run that keeps the best."""
    stopped_after: int | None = None
    """Epochs that were trained, for a run that stopped early (`patience`)."""
    config_hash: str = ""
    """Hash of the config; set when the result becomes a row (`small_vit.results.rows`)."""

    @property
    def trained_epochs(self):
        """Number of epochs that were trained."""
        return self.epochs if self.stopped_after is None else self.stopped_after


def length(runs):
    """Say how long runs were trained: "8 (3 passes each)", "50, stopped after 31 to 40".

    Args:
        runs: List of `Result`.
    """
    planned = dict.fromkeys(f"{run.epochs}{passes_suffix(run)}" for run in runs)
    stopped = {run.stopped_after for run in runs if run.stopped_after is not None}
    if not stopped:
        return " or ".join(planned)
    ends = dict.fromkeys((min(stopped), max(stopped)))
    return f"{' or '.join(planned)}, stopped after {' to '.join(map(str, ends))}"


def passes_suffix(run):
    """Return " (3 passes each)" if an epoch has several passes, else "".

    Args:
        run: `Result` or `TrainConfig`.
    """
    return f" ({run.passes_per_epoch} passes each)" if run.passes_per_epoch > 1 else ""
