"""Set-up of a process that trains, before Keras is imported: malloc, backend and caches.

Nothing here imports Keras.
"""

import argparse
import importlib
import json
import os
import sys
import traceback
from pathlib import Path

BACKENDS = ("tensorflow", "jax", "torch")

_OF_TRAIN = "loky markdown_it matplotlib PIL psutil rich scipy sklearn tyro".split()
_OF_OTHERS = {"gradio": "demo", "huggingface_hub": "hub"}
EXTRAS = {name: name for name in BACKENDS} | dict.fromkeys(_OF_TRAIN, "train") | _OF_OTHERS
"""Which extra of this package installs a module."""

MALLOC = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1099511627776"
"""GLIBC_TUNABLES of a process that trains.

Every train step frees memory that the next one needs again. By default glibc returns it to the
kernel in between. On a CPU the kernel then clears hundreds of MB for every step, in pages of 4 KB.
These settings ask for huge pages and keep freed memory in the process.
"""


def keep_freed_memory(program):
    """Restart this process once with `MALLOC`, on Linux: glibc reads it only at the start.

    The process restarts only where Python itself runs the program's file. Otherwise it keeps the
    malloc that it has: a debugger, a profiler, a notebook or a script that runs the program would
    be restarted too, and a program read from a pipe cannot be read again.

    Args:
        program: Frame of the program's module code. Call this first: everything before it runs
            twice.
    """
    unset = sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ
    if unset and _is_run_by_python(program):
        os.environ["GLIBC_TUNABLES"] = MALLOC
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _is_run_by_python(program):
    """Whether a frame runs a file that Python was started with, by its path or by -m."""
    _, *callers = (frame for frame, _ in traceback.walk_stack(program))
    # Python's -m uses runpy. Another script that uses runpy is itself among the callers.
    by_python = all(caller.f_globals.get("__name__") == "runpy" for caller in callers)
    return by_python and os.path.isfile(program.f_globals.get("__file__", ""))


def prepare_backend(arguments):
    """Set what must be set before Keras is imported: KERAS_BACKEND and caches.

    The backend is that of --backend, else that of the run or sweep in the folder of --resume.
    """
    resumed = resumed_folder(arguments)
    backend = _value_of("--backend", arguments) or (resumed and backend_of(resumed))
    if backend in BACKENDS:  # the real parser refuses others
        os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # JAX compiles a train step once per machine, not once per run.
    cache = Path.home() / ".cache" / "small_vit" / "jax"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    # Also cache the many small programs that build a model: by default JAX caches only slow ones.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def resumed_folder(arguments):
    """Return the folder that --resume names in a command line, or None."""
    folder = _value_of("--resume", arguments)
    return Path(folder) if folder else None


def _value_of(flag, arguments):
    """The value of a flag, or None. The real parser reports what is wrong with it."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(flag, nargs="?", dest="value")
    return parser.parse_known_args(arguments)[0].value


def backend_of(directory):
    """Return the backend of the run or sweep in `directory`; None if no file there says it."""
    for path in (directory / "environment.json", directory / "sweep.json"):
        try:
            return json.loads(path.read_text(encoding="utf-8"))["backend"]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # reported when the run itself is read
    return None


def run_command(module, arguments, **options):
    """Run the command line of a module, its backend prepared.

    Args:
        module: Name of a module with a function `main`.
        arguments: List of strings.
        **options: Further arguments of its `main`.

    Returns:
        Exit code.
    """
    prepare_backend(arguments)
    try:
        return importlib.import_module(module).main(arguments, **options)
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        others = ""
        if extra in BACKENDS:
            names = [f"--backend {name}" for name in BACKENDS if name != extra]
            others = f", or choose {' or '.join(names)}"
        print(
            f"error: this needs {error.name}, which is not installed. Install it with "
            f"pip install -e '.[{extra}]'{others}.",
            file=sys.stderr,
        )
        return 2
