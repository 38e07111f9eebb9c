"""The environment of a run: command, commit, versions, device."""

import importlib
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import keras


def describe_environment(devices, data_fingerprint, init_fingerprint=None):
    """Return command, commit, backend, device and versions, as a dict ready for JSON.

    Args:
        devices: Readable names of the devices in use.
        data_fingerprint: Digest of the data set.
        init_fingerprint: Digest of the file of initial weights. Default: none, they are random.
    """
    packages = ("keras", keras.backend.backend(), "numpy")
    return {
        "command": shlex.join(_command()),
        "commit": _commit(),
        "backend": keras.backend.backend(),
        "device": devices,
        "versions": {"python": platform.python_version()}
        | {name: importlib.import_module(name).__version__ for name in packages},
        "data_fingerprint": data_fingerprint,
        "init_fingerprint": init_fingerprint,
    }


def _command():
    """The command line of this process, as a user would type it."""
    program, *arguments = sys.argv
    if Path(program).name == "small-vit" or Path(program).parts[-2:] == (
        "small_vit",
        "__main__.py",
    ):
        return ["small-vit", *arguments]
    return ["python", program, *arguments]


def peak_memory_mb():
    """Return the peak resident memory of this process; None on Windows."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))


def _commit():
    """The git commit of the source, with "-dirty" if changed; "unknown" without a git checkout.

    Rows in the checkout do not count: a sweep writes them, and they are no source.
    """
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        call = {"capture_output": True, "text": True, "check": True}
        # Fails if the package is in a repository that does not track it.
        subprocess.run([*git, "ls-files", "--error-unmatch", Path(__file__).name], **call)
        commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], **call).stdout.strip()
        source = ["--", ":(top)", ":(top,exclude)experiments/results"]
        status = [*git, "status", "--porcelain", "--untracked-files=no", *source]
        return commit + "-dirty" * bool(subprocess.run(status, **call).stdout.strip())
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
