"""A run directory: all files of one training run, each written whole or not at all.

config.json        the resolved ExperimentConfig
environment.json   command, commit, versions, device, backend, fingerprints of the data and of the
                   initial weights
classes.json       class names
files.csv          split, class and file of each image, for a folder of images; skipped.csv and
                   duplicates.csv list what could not be read and what occurs twice
metrics.jsonl      one line per epoch; history.csv holds the same
checkpoint.npz     the newest checkpoint; kept after the end if the run can be extended
best.npz           weights of the best epoch so far, for a run that keeps the best; kept likewise
model.keras        the trained model
result.json        the final numbers
report.md          a report to read, with pictures; report.html is the same in one file
per_class.csv      the figures of each class
"""

import csv
import dataclasses
import json
import zipfile
from datetime import datetime
from pathlib import Path

import keras

from small_vit import hosts
from small_vit.config import ExperimentConfig
from small_vit.data.folder.dataset import FolderDataset
from small_vit.errors import InputError
from small_vit.files import (
    make_folder,
    read_json,
    write_csv,
    write_json,
    write_text,
    written_whole,
)
from small_vit.results.checkpoint import Checkpoint, restore_checkpoint, save_checkpoint
from small_vit.results.result import Result

ABOUT = "small_vit.json"
"""The member of model.keras that says what is needed to use it, as JSON (`save_model`)."""


def new_path(config, label):
    """Return a path under runs/ for a new run of `config`, named after the config and the time."""
    stamp = f"{datetime.now():%Y%m%d-%H%M%S-%f}"[:-3]
    name = f"{config.recipe}-{config.data.name}-{config.arm}-{label}-{stamp}"
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
        """Write the first files of a new run, on the first host.

        Raises:
            InputError: if a run or sweep is already here or the directory cannot be made.
        """
        taken = any((self / name).exists() for name in ("config.json", "sweep.json"))
        if hosts.from_first(taken):
            raise InputError(
                f"{self.path} already holds a run or a sweep. Resume it with --resume "
                f"{self.path}, or choose another folder with --out."
            )
        if not hosts.is_first():
            return
        make_folder(self.path)
        write_json(self / "environment.json", environment)
        write_json(self / "classes.json", class_names)
        write_json(self / "config.json", config.to_dict())

    def write_files(self, dataset):
        """Write files.csv, skipped.csv and duplicates.csv, on the first host.

        They are of a `FolderDataset`; other datasets have no files.
        """
        if not isinstance(dataset, FolderDataset) or not hosts.is_first():
            return
        used = [
            [part, dataset.class_names[label], name]
            for part, split in dataset.splits.items()
            for name, label in zip(dataset.files[part], split.labels, strict=True)
        ]
        copies = [
            [number, "equal" if group.exact else "alike", *file, file[-1] in dataset.dropped]
            for number, group in enumerate(dataset.duplicates, 1)
            for file in zip(group.parts, group.classes, group.files, strict=True)
        ]
        write_csv(self / "files.csv", ["split", "class", "file"], used)
        if dataset.skipped:
            write_csv(self / "skipped.csv", ["file", "reason"], dataset.skipped)
        if copies:
            columns = ["picture", "pixels", "split", "class", "file", "dropped"]
            write_csv(self / "duplicates.csv", columns, copies)

    def seen_files(self):
        """Return the paths of the images that the model was trained or chosen on; may be empty."""
        path = self / "files.csv"
        if not path.exists():
            return set()
        root = Path(self.config().data.data_dir)
        root = root if root.is_dir() else root.parent
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = list(csv.DictReader(file))
        return {(root / row["file"]).resolve() for row in rows if row["split"] != "test"}

    def class_names(self):
        """Read the class names, a list of str."""
        return read_json(self / "classes.json")

    def started(self):
        """Return whether a run was started here."""
        return (self / "config.json").exists()

    def backend(self):
        """Return the Keras backend that the run was started on."""
        return read_json(self / "environment.json").get("backend")

    def config(self):
        """Read the run's config.

        Raises:
            InputError: if the directory holds no run.
        """
        if not self.started():
            runs = [str(config.parent) for config in sorted(self.path.glob("*/config.json"))]
            several = f" It holds several: {', '.join(runs)}." if runs else ""
            raise InputError(
                f"{self.path} holds no run. Name a folder that holds config.json, like runs/NAME."
                f"{several}"
            )
        try:
            return ExperimentConfig.from_dict(read_json(self / "config.json"))
        except (InputError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{self.path} holds a run, but its config.json cannot be read: {error}."
            ) from error

    def refuse_another(self, config, environment):
        """Check that the run here has this config, backend, data and initial weights.

        More epochs are allowed.

        Raises:
            InputError: if not; the message lists the differences.
        """
        old = self.config()
        changed = changes_that_prevent_resuming(self.path, old, config)
        if (
            config.train.epochs > old.train.epochs
            and self.result() is not None
            and not (self / "checkpoint.npz").exists()
        ):
            raise InputError(
                f"{self.path} cannot be extended to {config.train.epochs} epochs: "
                "its checkpoint.npz is gone. Start a new run of that length."
            )
        at_start = read_json(self / "environment.json")
        changed += [
            f"{name}: {at_start.get(name)} -> {environment.get(name)}"
            for name in ("backend", "data_fingerprint", "init_fingerprint")
            if at_start.get(name) != environment.get(name)
        ]
        if at_start.get("data_fingerprint") != environment["data_fingerprint"]:
            changed.append("the images are not those that the run was started with")
        if changed:
            raise InputError(
                f"{self.path} cannot be resumed with other settings or data. Changed: "
                f"{'; '.join(changed)}. Use the old ones, or start a new run."
            )

    def resume(self, config, environment):
        """Record that the run is resumed with `config`; return its environment at the start."""
        at_start = read_json(self / "environment.json")
        resumed = {name: environment[name] for name in ("command", "commit", "device", "versions")}
        at_start["resumed"] = [*at_start.get("resumed", []), resumed]
        if hosts.is_first():
            write_json(self / "environment.json", at_start)
            write_json(self / "config.json", config.to_dict())
        return at_start

    def write_history(self, history):
        """Write the epochs so far, a list of dicts, to metrics.jsonl and history.csv."""
        write_text(self / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in history))
        with written_whole(self / "history.csv") as partial, partial.open("w", newline="") as file:
            table = csv.DictWriter(file, fieldnames=list(history[-1]))
            table.writeheader()
            table.writerows(history)

    def history(self):
        """Read metrics.jsonl: a list of dicts, one per epoch; empty before the first has ended.

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
        """Save all state of `model` and the progress (`small_vit.results.checkpoint`)."""
        save_checkpoint(self / "checkpoint.npz", model, checkpoint)

    def restore_checkpoint(self, model):
        """Set all state of `model` to the last checkpoint's.

        Returns:
            The `Checkpoint`; an empty one if none was saved.

        Raises:
            InputError: if it is damaged or of another model.
        """
        path = self / "checkpoint.npz"
        if not path.exists():
            return Checkpoint()
        checkpoint = restore_checkpoint(path, model)
        if checkpoint.history and hosts.is_first():
            # The run may have been killed after the checkpoint, before these were written.
            self.write_history(checkpoint.history)
        return checkpoint

    def save_model(self, model, about):
        """Save `model` for use, without optimizer and loss.

        Args:
            model: Functional `keras.Model`.
            about: Dict that is kept in the file: `class_names`; `fit` (`DataConfig.fit`); `model`,
                its settings with their `kind`; for two classes `positive`, a label, and
                `threshold`, None if none was chosen.
        """
        with written_whole(self / "model.keras") as partial:
            keras.Model(model.inputs[0], model.outputs[0], name=model.name).save(partial)
            # A .keras file is a zip archive; Keras ignores members it does not know.
            with zipfile.ZipFile(partial, "a") as archive:
                archive.writestr(ABOUT, json.dumps(about))

    def finish(self, result):
        """Write the result. An older result of fewer epochs is kept under another name."""
        shorter = self._read_result()
        if shorter is not None:
            name = f"result-{shorter.epochs}-epochs.json"
            write_json(self / name, dataclasses.asdict(shorter))
        write_json(self / "result.json", dataclasses.asdict(result))
        self.drop_needless_checkpoint()

    def drop_needless_checkpoint(self):
        """Delete the checkpoint of a run that has ended, unless the run can be extended."""
        if self.config().train.schedule != "constant":
            (self / "checkpoint.npz").unlink(missing_ok=True)
            (self / "best.npz").unlink(missing_ok=True)

    def result(self):
        """Read the result; None if the run has not ended.

        Raises:
            InputError: if it is damaged, or of another version of this package.
        """
        result = self._read_result()
        if result is None or result.epochs != self.config().train.epochs:
            return None
        return result

    def finished_result(self):
        """Read the result of a run that must have ended.

        Raises:
            InputError: as `result`, and if the run has not ended.
        """
        result = self.result()
        if result is None:
            raise InputError(
                f"The run in {self.path} has not ended. Resume it with small-vit train --resume "
                f"{self.path}."
            )
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


def changes_that_prevent_resuming(path, old, config):
    """List the changes of a config with which a run or sweep cannot be resumed.

    More epochs are allowed at a constant rate, where a longer run starts with the same epochs as a
    shorter run.

    Args:
        path: Folder of the run or sweep.
        old: Its `ExperimentConfig`.
        config: The `ExperimentConfig` to resume with.

    Returns:
        List of str, as from `ExperimentConfig.differences`.

    Raises:
        InputError: if there are more epochs, but not at a constant rate.
    """
    if config.train.epochs <= old.train.epochs:
        return old.differences(config)
    if config.train.schedule != "constant":
        raise InputError(
            f"{path} cannot be extended to {config.train.epochs} epochs: under schedule="
            f"{config.train.schedule} the learning rate of every step depends on the number of "
            f"epochs, which was {old.train.epochs}. Start a new run of that length."
        )
    return old.replace(train={"epochs": config.train.epochs}).differences(config)
