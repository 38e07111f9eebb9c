"""Results that no run has had, for tests of what is made of results."""

import dataclasses
import typing

import keras

from small_vit.results.result import Result


def made_up_result(**values):
    """Return a `Result` with these values; its other fields are empty, or their defaults.

    Args:
        **values: Fields of `Result`; or `accuracy` and `top5_accuracy`, which stand for those of
            `metrics`. Both are 0 if not given.
    """
    names = ("accuracy", "top5_accuracy")
    metrics = {name: values.pop(name, 0.0) for name in names} | values.pop("metrics", {})
    told = {"versions": {"keras": "3"}, "device": "a device", "commit": "0123456789ab"}
    told |= {"backend": keras.backend.backend(), "metrics": metrics}
    needed = [
        each
        for each in dataclasses.fields(Result)
        if each.default is each.default_factory is dataclasses.MISSING
    ]
    # A str is "", an int 0, a dict[str, float] {}.
    empty = {each.name: (typing.get_origin(each.type) or each.type)() for each in needed}
    return Result(**(empty | told | values))
