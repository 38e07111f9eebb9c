"""The decoded images of one folder on the disk, kept for later runs.

`images` holds the pixels of the readable files in the order of the listing, `facts.json` what is
known about every file. While they are made, `partial-images` and `partial-facts.jsonl` grow by a
chunk at a time, so that a pass that was killed goes on where it was.
"""

import hashlib
import json
import os
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from small_vit.data.folder.examine import Facts
from small_vit.errors import InputError
from small_vit.files import make_folder, write_text

DEFAULT = Path("~/.cache/small_vit/folders")


def open_cache(cache_dir, root, settings):
    """Return the folder of a root's images decoded with these settings; it is made if need be.

    Args:
        cache_dir: Folder of all caches. Default: `DEFAULT`.
        root: The folder of the images.
        settings: Everything that the pixels depend on beside the files, JSON values.

    Raises:
        InputError: if the folder cannot be made.
    """
    root = Path(root).resolve()
    name = json.dumps([os.fspath(root), *settings]).encode()
    stem = "".join(letter if letter.isalnum() else "_" for letter in root.stem[:40])
    stem = stem.encode("ascii", "replace").decode().replace("?", "_")
    folder = Path(cache_dir or DEFAULT).expanduser()
    folder = folder / f"{stem}-{hashlib.sha256(name).hexdigest()[:16]}"
    try:
        make_folder(folder)
    except InputError as error:
        message = str(error).replace("--out", "--cache-dir")
        raise InputError(message) from error
    return folder


@contextmanager
def locked(folder, on_wait):
    """Let one process at a time work in `folder`; the operating system ends a lock with its owner.

    Args:
        folder: The folder.
        on_wait: Called before waiting for another process.

    Raises:
        InputError: if the folder cannot be written to.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    try:
        lock = (folder / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        raise InputError(
            f"Could not lock {folder}: {error.strerror}. Choose another with --cache-dir."
        ) from error
    with lock:
        yield


class Stored:
    """Finished images of a folder.

    Attributes:
        channels: 1 or 3.
        facts: `Facts` of every file, in the order of the listing.
        images: `np.memmap`, uint8 `(readable files, height, width, channels)`.
    """

    def __init__(self, folder, size):
        kept = json.loads((folder / "facts.json").read_text())
        self.channels = kept["channels"]
        self.facts = [_from_json(each) for each in kept["facts"]]
        count = sum(each.reason is None for each in self.facts)
        shape = (count, *size, self.channels)
        # Two passes may follow each other while an earlier one's images are in use.
        path = folder / kept["images"]
        if path.stat().st_size != np.prod(shape, dtype=np.int64):
            raise ValueError(f"{path} has another size than its facts say")
        self.images = np.memmap(path, np.uint8, "r", shape=shape) if count else np.empty(shape)


def load_stored(folder, size):
    """Return the `Stored` images of a folder; None if there are none, or if they are damaged."""
    try:
        return Stored(folder, size)
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Partial:
    """Images of a pass that has not ended. A context manager: leaving it closes the files.

    Args:
        folder: The cache's folder.
        image_shape: (height, width, channels).
        paths: The listing's files; a partial pass over others is thrown away.
        is_current: Function that tells whether a file still is as its `Facts` say.

    Attributes:
        facts: `Facts` of the files that are done, the first ones of the listing.
    """

    def __init__(self, folder, image_shape, paths, is_current):
        self.folder = folder
        self.image_bytes = int(np.prod(image_shape))
        self.head = {"shape": list(image_shape), "files": _digest_of(paths)}
        self.facts = []
        self._is_current = is_current
        self._pixels_path = folder / "partial-images"
        self._log_path = folder / "partial-facts.jsonl"

    def __enter__(self):
        self._pixels = self._pixels_path.open("ab+")
        self._log = self._log_path.open("ab+")
        self._continue()
        return self

    def __exit__(self, *exception):
        self._pixels.close()
        self._log.close()

    @property
    def nbytes(self):
        """Bytes of the pixels that are done."""
        return self._pixels.tell()

    def _continue(self):
        """Read the chunks that are whole and current, and cut off what follows them."""
        self._log.seek(0)
        self._pixels.seek(0)
        if self._log.readline() != self._line(self.head):
            self._cut(0, 0)
            self._log.write(self._line(self.head))
            return
        done, pixels_done = self._log.tell(), 0
        while line := self._log.readline():
            try:
                chunk = json.loads(line)
                facts = [_from_json(each) for each in chunk["facts"]]
            except (ValueError, KeyError, TypeError):
                break
            if not all(map(self._is_current, facts)):
                break
            readable = sum(each.reason is None for each in facts)
            if zlib.crc32(self._pixels.read(readable * self.image_bytes)) != chunk["crc"]:
                break
            self.facts += facts
            done, pixels_done = self._log.tell(), self._pixels.tell()
        self._cut(done, pixels_done)

    def _cut(self, log_bytes, pixel_bytes):
        self._log.seek(log_bytes)
        self._log.truncate()
        self._pixels.seek(pixel_bytes)
        self._pixels.truncate()

    def add(self, facts, pixels):
        """Add a chunk: facts of the next files, and the pixels of those that can be read."""
        data = b"".join(each.tobytes() for each in pixels)
        self._pixels.write(data)
        self._pixels.flush()
        chunk = {"crc": zlib.crc32(data), "facts": [_to_json(each) for each in facts]}
        self._log.write(self._line(chunk))
        self._log.flush()
        self.facts += facts

    def finish(self):
        """Make the finished images of these; the ones before are removed."""
        os.fsync(self._pixels.fileno())
        self._pixels.close()  # Windows renames and removes closed files only.
        self._log.close()
        facts = [_to_json(each) for each in self.facts]
        channels = self.head["shape"][-1]
        name = f"images-{_digest_of([channels, facts])}"
        os.replace(self._pixels_path, self.folder / name)
        kept = {"channels": channels, "images": name, "facts": facts}
        write_text(self.folder / "facts.json", json.dumps(kept))
        self._log_path.unlink()
        for other in self.folder.glob("images-*"):
            if other.name != name:
                with suppress(OSError):  # On Windows it stays while another process uses it.
                    other.unlink()

    @staticmethod
    def _line(value):
        return json.dumps(value).encode() + b"\n"


def _digest_of(value):
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def _to_json(facts):
    # `dataclasses.astuple` copies each value, which takes longer.
    return list(vars(facts).values())


def _from_json(values):
    path, stamp, *rest = values
    return Facts(path, tuple(stamp) if stamp else None, *rest)
