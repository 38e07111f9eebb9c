"""Results that no run has had, for tests of what is made of results."""

import dataclasses

from small_vit.runs import Result


def made_up_result(**values):
    """Return a `Result` with these values, nothing in its other fields."""
    fields = dataclasses.fields(Result)
    # A str is "", an int 0.
    empty = {field.name: field.type() for field in fields if isinstance(field.type, type)}
    told = {"versions": {"keras": "3"}, "device": "a device", "commit": "0123456789ab"}
    return Result(**(empty | told | values))
