"""Reads CIFAR's published pickles without running any code in them."""

import pickle

import numpy as np

from small_vit.errors import InputError


class _Inert:
    """Placeholder for an array or its type: stores what the pickle says, does nothing with it."""

    def __init__(self, *arguments):
        self.arguments = arguments
        self.state = None

    def __setstate__(self, state):
        self.state = state


# NumPy's own functions are not used: with a forged state they could make an array that points
# anywhere in memory. `str.encode` replaces `codecs.encode`, with which Python 3 writes bytes, and
# allows only text encodings.
_KNOWN = {
    ("numpy.core.multiarray", "_reconstruct"): _Inert,
    ("numpy._core.multiarray", "_reconstruct"): _Inert,
    ("numpy", "ndarray"): _Inert,
    ("numpy", "dtype"): _Inert,
    ("_codecs", "encode"): str.encode,
}


class _CifarUnpickler(pickle.Unpickler):
    """Knows the names that CIFAR's pickles use and refuses all others."""

    def find_class(self, module, name):
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which CIFAR's files do not")
        return _KNOWN[module, name]


def read_pickle(stream, source):
    """Read one of CIFAR's pickles; arrays in it stay placeholders until `pixel_rows` reads them.

    Args:
        stream: The file, written by Python 2 or 3.
        source: Name of the file in messages.

    Returns:
        Its entries by name.

    Raises:
        InputError: if it is not a pickle of a dict, is incomplete, or refers to anything except
            arrays of numbers.
    """
    try:
        content = _CifarUnpickler(stream, encoding="bytes").load()
    # A damaged pickle can raise anything.
    except Exception as error:
        raise InputError(
            f"{source} cannot be read as a CIFAR file: {error}. It is damaged, incomplete or "
            "another file: download it again."
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{source} must hold a dict. Received: {type(content).__name__}.")
    return {
        key.decode(errors="replace") if isinstance(key, bytes) else key: value
        for key, value in content.items()
        if isinstance(key, bytes | str)
    }


def entry(content, key, source):
    """Return `content[key]`; the error lists the entries that the file has instead.

    Raises:
        InputError: if there is no such key.
    """
    if key not in content:
        raise InputError(
            f"{source} must have an entry {key!r}. Received: {', '.join(sorted(content)) or 'none'}"
            ". It is not the published file: download it again."
        )
    return content[key]


def pixel_rows(array, length, source):
    """Turn a pickled array into rows of pixels, without a copy.

    Args:
        array: What the pickle holds.
        length: Number of values in a row.
        source: Name of the file in messages.

    Returns:
        uint8, (rows, length), read-only.

    Raises:
        InputError: if it is not a uint8 array of that shape.
    """
    match array:
        case _Inert(
            state=(
                _,
                (int(rows), int(columns)),
                _Inert(arguments=("u1" | b"u1", *_)),
                fortran_order,
                bytes(values),
            )
        ) if columns == length and rows * columns == len(values):
            return np.ndarray(
                (rows, columns), np.uint8, values, order="F" if fortran_order else "C"
            )
    match array:
        case _Inert(state=(_, shape, _Inert(arguments=(dtype, *_)), *_)):
            received = f"{dtype!r} of shape {shape}"
        case _:
            received = type(array).__name__
    raise InputError(
        f"{source} must hold pixels as uint8 of shape (examples, {length}). Received: {received}."
    )
