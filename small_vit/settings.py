"""The base class of all groups of settings: checked when made, with a method to change them."""

import dataclasses
import math
from numbers import Real
from typing import Literal, get_args, get_origin, get_type_hints

from small_vit.errors import InputError
from small_vit.sizes import Size, as_pair


def is_whole(value):
    """Return whether `value` is an int, and not True or False."""
    return isinstance(value, int) and not isinstance(value, bool)


class Settings:
    """Base class of a dataclass that checks its values against their annotations.

    A value that can be written in several ways is stored in one, so that equal settings compare
    equal. Where a float is expected, 3 becomes 3.0. A size (32, 32) becomes 32, and a list a tuple.
    """

    def __post_init__(self):
        for name, hint in get_type_hints(type(self)).items():
            choices = get_args(hint) if get_origin(hint) is Literal else None
            value = getattr(self, name)
            if choices and value not in choices:
                raise InputError(f"{name} is one of {choices}. Received: {value!r}.")
            if hint is int or (hint == int | None and value is not None):
                self._require(is_whole(value), name, "a whole number")
            elif hint is bool:
                self._require(isinstance(value, bool), name, "True or False")
            elif hint is float:
                finite = isinstance(value, Real) and math.isfinite(value)
                self._require(finite, name, "a finite number")
                object.__setattr__(self, name, float(value))
            elif get_origin(hint) is tuple:
                self._require(isinstance(value, tuple | list), name, "a tuple")
                object.__setattr__(self, name, tuple(value))
            elif hint in (Size, Size | None) and value is not None:
                height, width = as_pair(value, name)
                size = height if height == width else (height, width)
                object.__setattr__(self, name, size)

    def _require(self, holds, name, rule):
        if not holds:
            raise InputError(f"{name} must be {rule}. Received: {getattr(self, name)!r}.")

    def replace(self, **changes):
        """Return a copy with `changes` applied, checked like a new one."""
        return dataclasses.replace(self, **changes)
