"""Importing Keras without the start-up lines of its backend."""

import os
import re
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

START_UP_LINES = re.compile(
    r"^[IW]\d{4} "
    r"|^WARNING: All log messages before absl::InitializeLog"
    r"|^To enable the following instructions"
)
"""What TensorFlow prints at each start: notes and warnings of its logger."""

NO_GPU = re.compile(r"failed call to cuInit")
"""An error that TensorFlow logs on a machine without an Nvidia GPU."""


def import_keras():
    """Import Keras and its backend; of what they print to standard error, show only errors."""
    if "keras" in sys.modules:
        return
    with only_errors():
        import keras

        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.list_physical_devices()  # TensorFlow looks for GPUs only now.


@contextmanager
def only_errors():
    """Hide start-up lines that the process, C++ included, writes to standard error.

    The rest is shown when the block ends. If the block raises, everything is shown.
    """
    sys.stderr.flush()
    stream = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        start_up = True
        try:
            yield
        except BaseException:
            start_up = False
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stream, 2)
            os.close(stream)
            held.seek(0)
            for line in held.read().decode(errors="replace").splitlines():
                if not (start_up and _is_start_up(line)):
                    print(line, file=sys.stderr)


def _is_start_up(line):
    has_gpu = Path("/dev/nvidia0").exists()
    return bool(START_UP_LINES.search(line) or (NO_GPU.search(line) and not has_gpu))
