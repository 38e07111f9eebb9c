"""Results that no run has had, for tests of what is made of results."""

import dataclasses

import keras

from small_vit.runs import Result


def made_up_result(**values):
    """Return a `Result` with these values, nothing in its other fields or their defaults."""
    told = {"versions": {"keras": "3"}, "device": "a device", "commit": "0123456789ab"}
    told |= {"backend": keras.backend.backend()}
    told |= values
    fields = dataclasses.fields(Result)
    needed = [field for field in fields if isinstance(field.type, type)]
    # A str is "", an int 0.
    empty = {each.name: each.type() for each in needed if each.default is dataclasses.MISSING}
    return Result(**(empty | told))
