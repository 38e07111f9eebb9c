"""Rows: the results of finished runs, one JSON object per line (experiments/results)."""

import dataclasses
import hashlib
import json
import re
from pathlib import Path

from small_vit.config import ExperimentConfig
from small_vit.errors import InputError
from small_vit.files import make_folder, read_lines, write_text
from small_vit.models.registry import model_config
from small_vit.results.result import Result
from small_vit.results.run_directory import RunDirectory


def config_hash(config):
    """Return 12 hex digits that two configs share when they are the same experiment.

    It is a hash of the settings that differ from the defaults, seed included. So a setting added
    later does not change it. The names of recipe and arm, the folder of the data and the devices
    are left out.
    """
    default = ExperimentConfig(model=model_config(config.model.kind))
    same = {"recipe": default.recipe, "arm": default.arm, "train": {"strategy": "auto"}}
    settings = default.differences(config.replace(**same))
    if config.model.kind != "vit":
        settings.append(f"model.kind: {config.model.kind}")
    return hashlib.sha256("\n".join(sorted(settings)).encode()).hexdigest()[:12]


def as_row(result, config):
    """Return `result` with the hash of its config, and its command without a machine's folders."""
    command = without_folders(result.command)
    return dataclasses.replace(result, config_hash=config_hash(config), command=command)


def without_folders(command):
    """Return a command line in which each absolute path is only its last part.

    The folders of one machine help nobody else, and may tell its user's name.
    """
    return re.sub(r"(^|[\s='\"])/(?:[^\s'\"/]+/)*", r"\1", command)


def row_of(directory):
    """Return the row of the finished run in `directory`, a `Result`."""
    run = RunDirectory(directory)
    return as_row(run.result(), run.config())


def read_rows(path):
    """Read a file of rows.

    Returns:
        List of `Result`; empty if there is no such file.

    Raises:
        InputError: if the file is damaged; the message gives the line.
    """
    rows = []
    for number, line in enumerate(read_lines(path, "rows"), 1):
        try:
            rows.append(Result(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise InputError(f"{path}, line {number} is no row: {error}") from error
    return rows


def rows_by_backend(rows):
    """Return lists of rows by Keras backend, since backends draw different random numbers."""
    groups = {}
    for row in rows:
        groups.setdefault(row.backend, []).append(row)
    return groups


def append_rows(path, rows):
    """Append rows to a file, made if absent; a row already there is not added again.

    Args:
        path: The file.
        rows: List of `Result`.

    Returns:
        Number of rows added.

    Raises:
        InputError: if the file is damaged or cannot be written.
    """
    known = read_rows(path)
    new = []
    for row in rows:
        if row not in known:
            known.append(row)
            new.append(row)
    lines = [*read_lines(path, "rows"), *(json.dumps(dataclasses.asdict(row)) for row in new)]
    make_folder(Path(path).parent)
    write_text(path, "".join(line + "\n" for line in lines))
    return len(new)
