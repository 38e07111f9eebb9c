"""Tiny-ImageNet's published layout."""

from collections import Counter

from small_vit.errors import InputError

ANNOTATIONS = "val/val_annotations.txt"


def is_tiny_imagenet(files):
    """Return whether these are the files of Tiny-ImageNet as published."""
    return {"wnids.txt", ANNOTATIONS} <= set(files)


def tiny_imagenet_rows(root, files):
    """List the labelled images of Tiny-ImageNet as published.

    Args:
        root: Its folder, a `Path`.
        files: Paths of all files, relative to the folder.

    Returns:
        A list of `(path, class name, "training" or "validation")`. The name of a class is the first
        one that words.txt gives, if no other class has it, else its WordNet id.

    Raises:
        InputError: if a file cannot be read, or an annotation is wrong.

    Source: Stanford CS231N, tiny-imagenet-200.zip.
    """
    ids = [fields[0] for fields in _read_fields(root / "wnids.txt", 1)]
    names = _class_names(root, files, ids)
    rows = []
    for path in files:
        match path.split("/"):
            case ["train", wnid, "images", *_] if wnid in names:
                rows.append((path, names[wnid], "training"))
    for name, wnid, *_ in _read_fields(root / ANNOTATIONS, 2):
        if wnid not in names:
            raise InputError(
                f"{root / ANNOTATIONS}: {name} must be of a class in wnids.txt. Received: {wnid!r}."
            )
        rows.append((f"val/images/{name}", names[wnid], "validation"))
    return rows


def _class_names(root, files, ids):
    words = {}
    if "words.txt" in files:
        words = {wnid: text for wnid, text, *_ in _read_fields(root / "words.txt", 2)}
    first = {wnid: words.get(wnid, wnid).partition(",")[0].strip() for wnid in ids}
    count = Counter(first.values())
    return {wnid: name if count[name] == 1 else wnid for wnid, name in first.items()}


def _read_fields(path, fewest):
    """Return the fields of each line of a file, which are separated by tabs."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}. Unpack the archive again.") from error
    rows = [line.split("\t") for line in lines if line.strip()]
    for row in rows:
        if len(row) < fewest:
            raise InputError(
                f"{path}: a line must have {fewest} fields, separated by tabs. "
                f"Received: {row[0]!r}. Unpack the archive again."
            )
    return rows
