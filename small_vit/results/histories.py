"""Histories: the epochs of runs, finished or not, one JSON object per run (results/epochs)."""

import csv
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from small_vit.errors import InputError
from small_vit.files import make_folder, read_json, read_lines, write_text
from small_vit.recipes import changes_from_recipe
from small_vit.results.rows import without_folders
from small_vit.results.run_directory import RunDirectory


@dataclass(frozen=True)
class History:
    """What a run has measured, epoch by epoch.

    Attributes:
        recipe, dataset, arm, seed, precision: As in `Result`.
        changes: As in `Result`. Until the run has ended, changes of a model that starts from
            trained weights are left out. At a constant rate the number of epochs is left out too:
            the epochs of a longer run are those of a shorter one and more.
        backend, device, commit, command: Of the process that started the run; the command without
            the folders of its machine.
        resumed: Commits of the processes that resumed it.
        epochs: One dict per epoch, as in history.csv.
    """

    recipe: str
    dataset: str
    arm: str
    seed: int
    precision: str
    changes: list[str]
    backend: str
    device: str
    commit: str
    command: str
    resumed: list[str]
    epochs: list[dict]

    @property
    def of(self):
        """What two histories share if one is the start of the other."""
        run = (self.recipe, self.dataset, self.arm, self.seed, self.precision, self.backend)
        return *run, *self.changes


def history_of(directory):
    """Return the `History` of the run in `directory`.

    Raises:
        InputError: if there is no run, or it has not finished an epoch.
    """
    run = RunDirectory(directory)
    config = run.config()
    epochs = run.history()
    if not epochs:
        raise InputError(f"The run in {directory} has not finished an epoch.")
    environment = read_json(run / "environment.json")
    result = run.result()
    changes = changes_from_recipe(config) if result is None else result.changes
    if config.train.schedule == "constant":
        changes = [change for change in changes if not change.startswith("train.epochs:")]
    resumed = [process["commit"] for process in environment.get("resumed", [])]
    return History(
        recipe=config.recipe,
        dataset=config.data.name,
        arm=config.arm,
        seed=config.train.seed,
        precision=config.train.precision,
        changes=changes,
        **{name: environment[name] for name in ("backend", "device", "commit")},
        command=without_folders(environment["command"]),
        resumed=resumed,
        epochs=epochs,
    )


def read_histories_file(path):
    """Read a file of histories.

    Returns:
        List of `History`; empty if there is no such file.

    Raises:
        InputError: if the file is damaged.
    """
    lines = read_lines(path, "histories")
    try:
        return [History(**json.loads(line)) for line in lines]
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} cannot be read as a file of histories: {error}") from error


def keep_histories(path, histories):
    """Add histories to a file; if a run is already there, the longer history is kept.

    Args:
        path: The file, made if absent.
        histories: List of `History`.
    """
    kept = {history.of: history for history in read_histories_file(path)}
    for history in histories:
        old = kept.get(history.of)
        if old is None or len(history.epochs) >= len(old.epochs):
            kept[history.of] = history
    make_folder(Path(path).parent)
    lines = [json.dumps(dataclasses.asdict(history)) for history in kept.values()]
    write_text(path, "".join(line + "\n" for line in lines))


def read_published_log(path):
    """Read the published log of a reference.

    Args:
        path: CSV file with a line per epoch and arm.

    Returns:
        By arm, a list of one dict per epoch, with the names of history.csv.
    """
    log = {}
    with Path(path).open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            epoch = {name: float(value) for name, value in line.items() if name != "arm"}
            log.setdefault(line["arm"], []).append(epoch | {"epoch": int(line["epoch"])})
    return log
