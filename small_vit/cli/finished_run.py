"""What the commands that look at a finished run again have in common."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro


@dataclass(frozen=True)
class FinishedRunOptions:
    """Which run, and where its data is."""

    run: tyro.conf.Positional[Path]
    """A run directory."""
    data_dir: Path | None = None
    """Folder of the data's published files. Default: where the run read them."""
    backend: Literal["tensorflow", "jax", "torch"] | None = None
    """Keras backend. Default: KERAS_BACKEND, else the one the run was trained on."""
