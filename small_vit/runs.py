"""A run directory: everything one training run leaves behind, written so that nothing is lost.

config.json        the resolved ExperimentConfig
environment.json   command, commit, versions, device, backend, data fingerprint
classes.json       class names
metrics.jsonl      one line an epoch; history.csv holds the same
checkpoint.npz     the newest state of the training; once that has ended, kept where it may go on
model.keras        the trained model
result.json        the final numbers
report.md          the run for a reader, with its pictures
"""

import csv
import dataclasses
import importlib
import json
import platform
import re
import shlex
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import keras
import numpy as np

from small_vit import hosts
from small_vit.config import ExperimentConfig
from small_vit.errors import InputError
from small_vit.files import make_folder, read_json, write_json, write_text, written_whole


@dataclass(frozen=True)
class Result:
    """The final numbers of one run.

    Fractions are of 1, losses are cross-entropies without smoothing, validation figures are the
    last epoch's, seconds are wall-clock.
    """

    recipe: str
    dataset: str
    arm: str
    seed: int
    test_accuracy: float
    test_top5_accuracy: float
    test_loss: float
    test_precision: float
    test_recall: float
    test_f1: float
    test_calibration_error: float
    validation_accuracy: float
    validation_top5_accuracy: float
    validation_loss: float
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
    best_on_test_accuracy: float | None = None
    """The best epoch's on the test set, where that was watched (`validation_split="test"`)."""
    best_on_test_top5_accuracy: float | None = None
    """The same epoch's."""
    train_seconds: float | None = None
    """From the end of the first step, whose program is compiled by then, to the end of the last
    epoch, with validation, what is compiled for it, and checkpoints; None for a resumed run."""
    start_seconds: float | None = None
    """From the start of the process to the end of the first step: imports, data, compilation, and
    earlier runs of the same process; None for a resumed run."""
    peak_memory_mb: int | None = None
    """Largest resident set of the process by the run's end, earlier runs of the same process
    included; None where the system does not tell."""
    config_hash: str = ""
    """Of the config; given when the result becomes a row (`small_vit.rows`)."""


@dataclass(frozen=True)
class Checkpoint:
    """How far a run is.

    Attributes:
        history: The finished epochs, a list of dicts.
        step: Steps of the next epoch that are done.
        seconds: What these took.
    """

    history: list[dict] = field(default_factory=list)
    step: int = 0
    seconds: float = 0.0


def passes_told(run):
    """Say how many passes an epoch is, where a run's, or a config's, are several."""
    return f" ({run.passes_per_epoch} passes each)" if run.passes_per_epoch > 1 else ""


def new_path(config, label):
    """Return a path under runs/ for a new run of `config`, named by what it is and the time."""
    stamp = f"{datetime.now():%Y%m%d-%H%M%S-%f}"[:-3]
    name = f"{config.recipe}-{config.data.dataset}-{config.model.arm}-{label}-{stamp}"
    return Path("runs") / name


class RunDirectory:
    """The files of one run.

    Args:
        path: The directory.
    """

    def __init__(self, path):
        self.path = Path(path)

    def __truediv__(self, name):
        return self.path / name

    def create(self, config, environment, class_names):
        """Start a new run here; of several hosts the first does.

        Raises:
            InputError: if a run or comparison is already here or the directory cannot be made.
        """
        taken = any((self / name).exists() for name in ("config.json", "comparison.json"))
        if hosts.of_first(taken):
            raise InputError(
                f"{self.path} already holds a run or a comparison. Go on with it by --resume "
                f"{self.path}, or choose another folder with --out."
            )
        if not hosts.is_first():
            return
        make_folder(self.path)
        write_json(self / "environment.json", environment)
        write_json(self / "classes.json", class_names)
        write_json(self / "config.json", config.to_dict())

    def begun(self):
        """Return whether a run was started here."""
        return (self / "config.json").exists()

    def backend(self):
        """Return the Keras backend that the run was begun on."""
        return read_json(self / "environment.json").get("backend")

    def config(self):
        """Read the run's config.

        Raises:
            InputError: if the directory holds no run.
        """
        if not self.begun():
            raise InputError(
                f"{self.path} holds no run. Name a folder that holds config.json, as runs/NAME "
                "does, or start a new run without --resume."
            )
        try:
            return ExperimentConfig.from_dict(read_json(self / "config.json"))
        except (InputError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{self.path} holds a run whose config.json cannot be read ({error})."
            ) from error

    def refuse_another(self, config, environment):
        """Check that the run here is of this config, backend and data; it may become longer.

        Raises:
            InputError: if it is not, naming the fields that differ.
        """
        old = self.config()
        changed = changes_of_going_on(self.path, old, config)
        if (
            config.train.epochs > old.train.epochs
            and self.result() is not None
            and not (self / "checkpoint.npz").exists()
        ):
            raise InputError(
                f"{self.path} cannot go on to {config.train.epochs} epochs: its checkpoint.npz is "
                "gone. Start a new run of that length."
            )
        begun = read_json(self / "environment.json")
        changed += [
            f"{name}: {begun.get(name)} -> {environment[name]}"
            for name in ("backend", "data_fingerprint")
            if begun.get(name) != environment[name]
        ]
        if changed:
            raise InputError(
                f"{self.path} cannot go on as another experiment. Changed: {'; '.join(changed)}. "
                "Leave these as they were, or start a new run."
            )

    def go_on(self, config, environment):
        """Note that the run goes on, to the epochs of `config`; return what it was begun with."""
        begun = read_json(self / "environment.json")
        resumed = {name: environment[name] for name in ("command", "commit", "device", "versions")}
        begun["resumed"] = [*begun.get("resumed", []), resumed]
        if hosts.is_first():
            write_json(self / "environment.json", begun)
            write_json(self / "config.json", config.to_dict())
        return begun

    def write_history(self, history):
        """Write the epochs so far, a list of dicts, to metrics.jsonl and history.csv."""
        write_text(self / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in history))
        with written_whole(self / "history.csv") as partial, partial.open("w", newline="") as file:
            table = csv.DictWriter(file, fieldnames=list(history[-1]))
            table.writeheader()
            table.writerows(history)

    def history(self):
        """Read metrics.jsonl: a list of dicts, one an epoch; empty before the first has ended.

        Raises:
            InputError: if it is damaged.
        """
        path = self / "metrics.jsonl"
        if not path.exists():
            return []
        try:
            return [json.loads(line) for line in path.read_text().splitlines()]
        except ValueError as error:
            raise InputError(f"{path} is damaged: {error}") from error

    def save_checkpoint(self, model, checkpoint):
        """Save all state of `model`, its optimizer and its metrics, and how far the run is.

        Keras's own formats leave out the state of the random generators, without which a resumed
        run draws other dropout masks and augmentations than the uninterrupted one.
        """
        state = _state(model)
        arrays = {
            f"variable_{index}": keras.ops.convert_to_numpy(variable)
            for index, (_, variable) in enumerate(state)
        }
        about = dataclasses.asdict(checkpoint) | {"paths": [path for path, _ in state]}
        with written_whole(self / "checkpoint.npz") as partial:
            np.savez(partial, about=json.dumps(about), **arrays)

    def restore_checkpoint(self, model):
        """Set all state of `model`, its optimizer and its metrics to the last checkpoint's.

        Returns:
            The `Checkpoint`; an empty one where none was saved.

        Raises:
            InputError: if it is damaged or of another model.
        """
        path = self / "checkpoint.npz"
        if not path.exists():
            return Checkpoint()
        try:
            with np.load(path) as arrays:
                if "about" not in arrays.files:
                    raise InputError(
                        f"{path} is of an earlier version of this package. Start a new run."
                    )
                values = [arrays[f"variable_{index}"] for index in range(len(arrays.files) - 1)]
                about = json.loads(str(arrays["about"]))
            paths = about.pop("paths")
            checkpoint = Checkpoint(**about)
        except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise InputError(
                f"{path} is damaged: {error!r}. Delete it to train from the start, or start a new "
                "run."
            ) from error
        state = _state(model)
        saved = [(path, value.shape) for path, value in zip(paths, values, strict=True)]
        if saved != [(path, tuple(variable.shape)) for path, variable in state]:
            raise InputError(
                f"{path} holds other variables than the model has now: the code has changed since. "
                "Start a new run."
            )
        for (_, variable), value in zip(state, values, strict=True):
            variable.assign(value)
        if checkpoint.history and hosts.is_first():
            # The run may have died between the checkpoint and these.
            self.write_history(checkpoint.history)
        return checkpoint

    def save_model(self, model):
        """Save `model` for use: without optimizer and loss."""
        with written_whole(self / "model.keras") as partial:
            keras.Model(model.inputs[0], model.outputs[0], name=model.name).save(partial)

    def finish(self, result):
        """Write the result; that of fewer epochs stays beside it, if there is one."""
        shorter = self._read_result()
        if shorter is not None:
            name = f"result-{shorter.epochs}-epochs.json"
            write_json(self / name, dataclasses.asdict(shorter))
        write_json(self / "result.json", dataclasses.asdict(result))
        self.drop_needless_checkpoint()

    def drop_needless_checkpoint(self):
        """Delete the checkpoint of a run that has ended, unless it can go on to more epochs."""
        if self.config().train.schedule != "constant":
            (self / "checkpoint.npz").unlink(missing_ok=True)

    def result(self):
        """Read the result; None while the run has not ended.

        Raises:
            InputError: if it is damaged, or of another version of this package.
        """
        result = self._read_result()
        if result is None or result.epochs != self.config().train.epochs:
            return None
        return result

    def _read_result(self):
        path = self / "result.json"
        if not path.exists():
            return None
        try:
            return Result(**read_json(path))
        except TypeError as error:
            raise InputError(
                f"{path} is no result of this version: {error}. Start a new run."
            ) from error


def changes_of_going_on(path, old, config):
    """List what keeps a run or comparison from going on under another config.

    More epochs do not: at a constant rate the first epochs of a longer run are those of a shorter
    one.

    Args:
        path: Where it lies.
        old: Its `ExperimentConfig`.
        config: The one to go on under.

    Returns:
        List of str, as from `ExperimentConfig.differences`.

    Raises:
        InputError: if there are more epochs, but not at a constant rate.
    """
    if config.train.epochs <= old.train.epochs:
        return old.differences(config)
    if config.train.schedule != "constant":
        raise InputError(
            f"{path} cannot go on to {config.train.epochs} epochs: under schedule="
            f"{config.train.schedule} the learning rate of every step depends on the number of "
            f"epochs, which was {old.train.epochs}. Start a new run of that length."
        )
    return old.replace(train={"epochs": config.train.epochs}).differences(config)


def describe_environment(devices, data_fingerprint):
    """Return where and with what a run is made, as a dict ready for JSON.

    Args:
        devices: Readable names of the devices in use.
        data_fingerprint: Digest of the data set.
    """
    packages = ("keras", keras.backend.backend(), "numpy")
    return {
        "command": shlex.join(["python", *sys.argv]),
        "commit": _commit(),
        "backend": keras.backend.backend(),
        "device": devices,
        "versions": {"python": platform.python_version()}
        | {name: importlib.import_module(name).__version__ for name in packages},
        "data_fingerprint": data_fingerprint,
    }


def peak_memory_mb():
    """Return the largest resident set that this process has had; None on Windows."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))


def _state(model):
    """All variables a resumed run needs, seeds of the random generators among them, by path.

    Keras counts the generators and optimizers of a process; a path here is without the count.
    """
    of_model = [re.sub(r"seed_generator_\d+", "seed_generator", v.path) for v in model.variables]
    of_optimizer = [f"optimizer/{v.path.partition('/')[2]}" for v in model.optimizer.variables]
    of_metrics = [f"metrics/{v.path}" for v in model.metrics_variables]
    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    return list(zip([*of_model, *of_optimizer, *of_metrics], variables, strict=True))


def _commit():
    """The source's git commit, "-dirty" if changed since; "unknown" outside its checkout.

    A sweep writes rows into the checkout, which changes no source.
    """
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        call = {"capture_output": True, "text": True, "check": True}
        # Fails where the package lies in a repository that does not track it.
        subprocess.run([*git, "ls-files", "--error-unmatch", Path(__file__).name], **call)
        commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], **call).stdout.strip()
        source = ["--", ":(top)", ":(top,exclude)experiments/results"]
        status = [*git, "status", "--porcelain", "--untracked-files=no", *source]
        return commit + "-dirty" * bool(subprocess.run(status, **call).stdout.strip())
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
