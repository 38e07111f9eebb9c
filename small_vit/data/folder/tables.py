"""Tables of image files and their labels: CSV and JSON lines."""

import csv
import json
import os
from pathlib import Path

from small_vit.data.folder.naming import PART_OF
from small_vit.errors import InputError

COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "image"),
    "label": ("label", "class", "category"),
    "split": ("split", "part"),
}
"""Names that a column may have, upper or lower case."""

CSV_SUFFIXES = (".csv", ".tsv")
JSON_LINES_SUFFIXES = (".jsonl", ".ndjson")


def read_table(path):
    """Read the image files, classes and parts that a table lists.

    Args:
        path: A CSV file with a header, separated by commas, semicolons or tabs, or a file of JSON
            objects, one a line. Both are UTF-8 and have the columns of `COLUMNS`; split may be
            absent. Paths are relative to the table's folder, or absolute.

    Returns:
        A list of `(path, class name, part)`, each path once. A path is relative to the table's
        folder if it lies in it. The part is "training", "validation", "test", or None if the table
        has no split.

    Raises:
        InputError: if the table cannot be read, a column or an entry is missing or wrong, or an
            image is listed twice with different classes or parts.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in CSV_SUFFIXES:
        read_records = _csv_records
    elif suffix in JSON_LINES_SUFFIXES:
        read_records = _json_records
    else:
        raise InputError(
            f"{path} must be a folder of images, or a table of them that ends in "
            f"{', '.join(CSV_SUFFIXES + JSON_LINES_SUFFIXES)}. Unpack an archive first."
        )
    try:
        # With utf-8-sig, the mark that Excel writes at the start is no part of the first name.
        with path.open(encoding="utf-8-sig", newline="") as file:
            records = list(read_records(path, file))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} must be text in UTF-8: save it so. Received: {error}.") from error
    if not records:
        raise InputError(f"{path} lists no images. Add a line for each, below the header of a CSV.")
    return _unique_rows(path, records)


def _csv_records(path, file):
    """Yield (line, {name: text}) for each line of a CSV file."""
    header = file.readline()
    file.seek(0)
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(file, delimiter=delimiter, strict=True)
    try:
        columns = _columns(path, reader.fieldnames or [])
        for record in reader:
            if None in record or None in record.values():
                raise InputError(
                    f"{path}, line {reader.line_num}, must have {len(reader.fieldnames)} entries, "
                    "as the header has. Quote an entry that holds the separator."
                )
            values = {name: record[column].strip() for name, column in columns.items()}
            yield reader.line_num, values
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}, is no CSV: {error}.") from error


def _json_records(path, file):
    """Yield (line, {name: text}) for each object of a file of JSON lines."""
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}, line {number}, is no JSON: {error}.") from error
        if not isinstance(record, dict):
            raise InputError(
                f"{path}, line {number}, must be a JSON object, as "
                f'{{"path": "a.jpg", "label": "cat"}}. Received: {line.strip()[:80]}'
            )
        columns = _columns(f"{path}, line {number},", record)
        values = {name: record[column] for name, column in columns.items()}
        for name, value in values.items():
            if type(value) not in ((str,) if name == "path" else (str, int)):
                raise InputError(
                    f"{path}, line {number}: {columns[name]} must be text. Received: {value!r}."
                )
        yield number, {name: str(value).strip() for name, value in values.items()}


def _columns(source, names):
    """Return the name in the table of "path", "label" and, if it is there, "split"."""
    by_lower_case = {name.strip().lower(): name for name in names}
    columns = {}
    for column, allowed in COLUMNS.items():
        found = [by_lower_case[name] for name in allowed if name in by_lower_case]
        if found:
            columns[column] = found[0]
        elif column != "split":
            raise InputError(
                f"{source} must name a {column} ({', '.join(allowed)}). Received: {list(names)}."
            )
    return columns


def _unique_rows(path, records):
    seen = {}
    for line, values in records:
        for column, value in values.items():
            if not value:
                raise InputError(
                    f"{path}, line {line}, has no {column}. Fill it in, or remove the "
                    + ("column." if column == "split" else "line.")
                )
        if ("split" in values) != ("split" in records[0][1]):
            raise InputError(
                f"{path}: every line must have a split, or none. Line {line} differs from line "
                f"{records[0][0]}."
            )
        name = _inside(path.parent, values["path"])
        row = (name, values["label"], _part(path, line, values.get("split")))
        other, line_of_other = seen.setdefault(name, (row, line))
        if other != row:
            raise InputError(
                f"{path} lists {name} twice: as {_described(other)} in line {line_of_other}, as "
                f"{_described(row)} in line {line}. Keep the right one."
            )
    return [row for row, _ in seen.values()]


def _inside(folder, name):
    """Return a path relative to the folder if it lies in it, in one spelling."""
    whole = os.path.abspath(folder / name)
    root = os.path.join(os.path.abspath(folder), "")
    return Path(whole[len(root) :] if whole.startswith(root) else whole).as_posix()


def _part(path, line, split):
    if split is not None and split.lower() not in PART_OF:
        raise InputError(
            f"{path}, line {line}: split must be one of {', '.join(PART_OF)}. Received: {split!r}."
        )
    return None if split is None else PART_OF[split.lower()]


def _described(row):
    _, class_name, part = row
    return f"{class_name!r}" if part is None else f"{class_name!r} in {part}"
