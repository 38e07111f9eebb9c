"""How a measurement's step differs from the train step of `run_experiment`."""

from collections.abc import Callable
from dataclasses import dataclass


def _same(config):
    return config


def _nothing(*what):
    pass


@dataclass(frozen=True)
class Change:
    """A change to our step.

    Attributes:
        meaning: What the step then lacks, or how it is then done.
        config: From the `ExperimentConfig` to the changed one.
        before_build: Called before the model is built.
        before_compile: Called with the model before it is compiled.
        after_compile: Called with the engine, whose model is compiled.
    """

    meaning: str
    config: Callable = _same
    before_build: Callable = _nothing
    before_compile: Callable = _nothing
    after_compile: Callable = _nothing

    @property
    def in_config(self):
        """Whether the change is one of the config's."""
        return self.config is not _same


def replace(owner, name, function):
    """Put `function` in place of one that must be there: Keras may have renamed it."""
    getattr(owner, name)
    setattr(owner, name, function)
