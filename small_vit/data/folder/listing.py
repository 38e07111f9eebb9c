"""From a path to labelled image files: the layouts of folders that are understood."""

import os
from dataclasses import dataclass
from pathlib import Path

from small_vit.data.folder.naming import PART_OF, some
from small_vit.data.folder.tables import read_table
from small_vit.data.folder.tiny_imagenet import is_tiny_imagenet, tiny_imagenet_rows
from small_vit.errors import InputError

LAYOUTS = "a folder of images for each class (CLASS/…, or train/CLASS/… with val/ and test/ alike)"


@dataclass(frozen=True)
class ImageFile:
    """A file that should be an image.

    Attributes:
        path: Its path relative to the listing's root, with "/"; absolute if it is not below it.
        label: Index of its class name.
        part: "training", "validation" or "test"; None if it is still to be decided.
    """

    path: str
    label: int
    part: str | None = None


@dataclass(frozen=True)
class Listing:
    """Image files and their classes.

    Attributes:
        root: The folder that their paths are relative to.
        class_names: Name of class 0, 1, …, sorted.
        files: The `ImageFile`s, sorted by path. Either all have a part or none.
        notes: Sentences that say which layout was found and what was left out.
    """

    root: Path
    class_names: tuple[str, ...]
    files: tuple[ImageFile, ...]
    notes: tuple[str, ...]


def refuse_inside_images(path, data):
    """Check that what is written to a folder does not come to lie among the images.

    Args:
        path: The folder to write to.
        data: `DataConfig`.

    Raises:
        InputError: if it is inside the folder of the images.
    """
    if data.dataset != "folder" or data.data_dir is None:
        return
    path = Path(path).resolve()
    if Path(data.data_dir).expanduser().resolve() in (path, *path.parents):
        raise InputError(
            f"{path} is inside the folder of the images, {data.data_dir}, and would be taken for "
            "one more class of them. Choose another folder with --out."
        )


def list_images(path, fewest_classes=2):
    """List the images of a folder or a table, with their classes.

    These layouts are understood:

    - `CLASS/…`: a folder for each class; folders in it belong to the class.
    - `train/CLASS/…`, with `val/CLASS/…` and `test/CLASS/…` or without (see `naming.PART_OF`).
    - A table of paths and labels (see `read_table`).
    - Tiny-ImageNet as published.

    No file is opened but the tables. Every file in a class folder is listed, except hidden ones and
    those that operating systems leave.

    Args:
        path: The folder or the table.
        fewest_classes: Number of classes that there must be.

    Returns:
        A `Listing`.

    Raises:
        InputError: if there is nothing there, no such layout, a class without images, or one class
            only.
    """
    if path is None:
        raise InputError(
            f"The dataset folder needs {LAYOUTS}, or a CSV or JSON-lines file of paths and labels. "
            "Name it: small-vit train DIR, or --data-dir DIR."
        )
    path = Path(path).expanduser()
    if not os.path.exists(path):
        raise InputError(f"There is no {path}. Give {LAYOUTS}, or a CSV or JSON-lines file.")
    if path.is_dir():
        root = path
        rows, notes = _folder_rows(root, fewest_classes)
    else:
        root = path.parent
        rows, notes = read_table(path), [f"Layout: the table {path.name}."]
    class_names = sorted({class_name for _, class_name, _ in rows})
    _require_classes(path, class_names, fewest_classes)
    if any(part for _, _, part in rows) and not any(part == "training" for *_, part in rows):
        raise InputError(f"{path} must have images for training. Name a part of it train.")
    label_of = {name: label for label, name in enumerate(class_names)}
    files = sorted((name, label_of[class_name], part) for name, class_name, part in rows)
    return Listing(
        root, tuple(class_names), tuple(ImageFile(*file) for file in files), tuple(notes)
    )


def _require_classes(path, class_names, fewest):
    if len(class_names) < fewest:
        raise InputError(
            f"{path} must have images of two classes or more. Received: {some(class_names)} only."
        )
    by_lower_case = {}
    for name in class_names:
        other = by_lower_case.setdefault(name.casefold(), name)
        if other != name:
            raise InputError(
                f"{path} has the classes {other} and {name}, which differ by case only. Give them "
                "one name."
            )


def _folder_rows(root, fewest):
    """Return the (path, class name, part) of each image below a folder, and the notes."""
    folders, files, ignored = walk(root)
    top = [name for name in folders if "/" not in name]
    if not folders and not files:
        raise InputError(f"{root} is empty. Put {LAYOUTS} there.")
    if not top:
        raise InputError(
            f"{root} has no class folders, but {len(files)} loose files ({some(files)}). Put them "
            "into a folder for each class, or give a CSV file of their paths and labels."
        )
    if is_tiny_imagenet(files):
        rows = tiny_imagenet_rows(root, files)
        notes = ["Layout: Tiny-ImageNet as published, without its test images: they have no label."]
    elif any(name.lower() in PART_OF for name in top):
        part_of = _parts_of_folders(root, top)
        rows, notes = _class_rows(root, folders, files, depth=1)
        rows = [(name, label, part_of[name.split("/")[0]]) for name, label in rows]
        notes.insert(0, f"Layout: {', '.join(top)}, with a folder for each class.")
    else:
        _refuse_outer_folders(root, top, folders, fewest)
        rows, notes = _class_rows(root, folders, files, depth=0)
        rows = [(name, label, None) for name, label in rows]
        notes.insert(0, "Layout: a folder for each class.")
    if ignored:
        notes.append(f"Ignored: {ignored} hidden files or folders, or ones of operating systems.")
    return rows, notes


def walk(root):
    """List a folder and all folders in it, also those that links lead to.

    Args:
        root: Path of the folder.

    Returns:
        `(folders, files, ignored)`: paths relative to `root`, sorted, and the number of what is
        hidden, left by operating systems, or neither file nor folder.

    Raises:
        InputError: if a folder cannot be read, or lies in itself.
    """
    folders, files, ignored = [], [], 0
    waiting = [("", ())]
    while waiting:
        prefix, above = waiting.pop()
        folder = root / prefix
        real = os.path.realpath(folder)
        if real in above:
            raise InputError(f"{folder} is a link to a folder that it lies in. Remove it.")
        try:
            names = os.listdir(folder)
        except OSError as error:
            raise InputError(
                f"The folder {folder} cannot be read: {error.strerror}. Change its permissions, or "
                "move it away."
            ) from error
        for name in names:
            path = prefix + name
            # Not pathlib: it takes longer than the file system.
            file = os.path.join(folder, name)
            if name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini", "__macosx"):
                ignored += 1
            elif os.path.isdir(file):
                folders.append(path)
                waiting.append((path + "/", (*above, real)))
            elif os.path.isfile(file) or os.path.islink(file):
                files.append(path)
            else:  # A pipe or a device: reading it might never end.
                ignored += 1
    return sorted(folders), sorted(files), ignored


def _parts_of_folders(root, top):
    """Return the part of each top folder, by its name."""
    others = [name for name in top if name.lower() not in PART_OF]
    if others:
        parts = [name for name in top if name not in others]
        raise InputError(
            f"{root} has folders of parts ({some(parts)}) next to other folders ({some(others)}). "
            "Move the others away; or rename the folders of parts if they are classes."
        )
    folder_of = {}
    for name in top:
        other = folder_of.setdefault(PART_OF[name.lower()], name)
        if other != name:
            raise InputError(
                f"{root}: the folders {other} and {name} are both for {PART_OF[name.lower()]}. "
                "Keep one."
            )
    if "training" not in folder_of:
        raise InputError(
            f"{root} must have a folder train, next to {some(top)}. If these are classes, rename "
            "them."
        )
    return {name: part for part, name in folder_of.items()}


def _refuse_outer_folders(root, top, folders, fewest):
    """Raise if the classes or parts seem to be one level below the class folders."""
    inner = [name for name in folders if name.count("/") == 1]
    for name in inner:
        outer, _, base = name.partition("/")
        if PART_OF.get(base.lower()) == "training":
            raise InputError(
                f"{root} must have {LAYOUTS}. Received: {name}. If {outer} is a whole dataset, "
                f"give {root / outer}; if it is a class, put it into {base}."
            )
    if len(top) < fewest:
        deeper = f" If its folders are the classes, give {root / top[0]}." if inner else ""
        raise InputError(
            f"{root} must have images of two classes or more. Received: {top[0]} only.{deeper}"
        )


def _class_rows(root, folders, files, depth):
    """Return the (path, class name) of each file below the class folders, and the notes.

    Args:
        root: The folder, for messages.
        folders: Paths of all folders below it.
        files: Paths of all files below it.
        depth: How many folders the class folders lie in.
    """
    class_folders = [name for name in folders if name.count("/") == depth]
    outer = {name.split("/")[0] for name in class_folders}
    unlabelled = [name for name in folders if "/" not in name and name not in outer]
    if unlabelled:
        raise InputError(
            f"{root}: {some(unlabelled)} must have a folder for each class: its images have no "
            "labels otherwise. Sort them, or move it away."
        )
    rows = [(name, name.split("/")[depth]) for name in files if name.count("/") > depth]
    filled = {"/".join(name.split("/")[: depth + 1]) for name, _ in rows}
    empty = [name for name in class_folders if name not in filled]
    if empty:
        raise InputError(
            f"{root}: the class folders {some(empty)} have no images. Fill or remove them."
        )
    loose = [name for name in files if name.count("/") <= depth]
    notes = [f"Left out, as they are in no class folder: {some(loose)}."] if loose else []
    return rows, notes
