"""Files that are written whole or not at all, and read with one clear error."""

import csv
import json
import os
from contextlib import contextmanager, suppress
from pathlib import Path

from small_vit.errors import InputError


@contextmanager
def written_whole(path):
    """Yield a path next to `path` to write to; it replaces `path` when the block succeeds.

    Raises:
        InputError: if the disk refuses (full, read-only, no permission).
    """
    path = Path(os.path.abspath(path))  # "." has no name
    partial = path.with_name(f".partial-{path.name}")
    try:
        yield partial
        with partial.open("rb+") as written:
            os.fsync(written.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise InputError(
            f"Could not write {path}: {error.strerror or error}. Free space there or write "
            "elsewhere; a run that was started can be resumed with --resume."
        ) from error
    finally:
        with suppress(OSError):  # the disk may refuse that too
            partial.unlink(missing_ok=True)


def write_text(path, text):
    """Write `text` to `path`, whole or not at all."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_csv(path, columns, rows):
    """Write a table to `path`, whole or not at all; file names in it may be invalid UTF-8.

    Args:
        path: The file.
        columns: Names of the columns.
        rows: Iterable of rows.
    """
    text = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}
    with written_whole(path) as partial, partial.open("w", **text) as file:
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows(rows)


def write_json(path, value):
    """Write `value` to `path` as JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path):
    """Read what `write_json` wrote.

    Raises:
        InputError: if the file cannot be read or is damaged.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}. Was it changed by hand?") from error


def read_lines(path, content):
    """Return the lines of a text file; none if there is no such file.

    Args:
        path: The file.
        content: What it holds, for the message.

    Raises:
        InputError: if it cannot be read as text.
    """
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a file of {content}: {error}") from error


def make_folder(path):
    """Make the folder `path` and those above it.

    Raises:
        InputError: if the disk refuses.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"Could not make the folder {path}: {error.strerror}. Choose another with --out."
        ) from error
