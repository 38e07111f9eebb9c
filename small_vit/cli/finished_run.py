"""What the commands that look at a finished run again have in common."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from small_vit.cli.process import BACKENDS, backend_of
from small_vit.quiet import import_keras


@dataclass(frozen=True)
class FinishedRunOptions:
    """Which run, and where its data is."""

    run: tyro.conf.Positional[Path]
    """A run directory."""
    data_dir: Path | None = None
    """Folder of the data's published files. Default: where the run read them."""
    backend: Literal["tensorflow", "jax", "torch"] | None = None
    """Keras backend. Default: KERAS_BACKEND, else the one the run was trained on."""


def import_keras_for(run):
    """Import Keras on the backend of a run, unless --backend or KERAS_BACKEND names another.

    Args:
        run: Run directory, or a file that does not say its backend.
    """
    if "KERAS_BACKEND" not in os.environ and (backend := backend_of(run)) in BACKENDS:
        os.environ["KERAS_BACKEND"] = backend
    import_keras()
