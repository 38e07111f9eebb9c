"""A sweep's runs on a Ray cluster: one task per run, resumed from its checkpoint if a node dies.

Only Ray core is needed. The folder of the sweep, the data and this source code must be at the same
paths on every node (a shared file system).
"""

import os
import socket
import sys
from pathlib import Path

import keras

from small_vit.config import ExperimentConfig
from small_vit.errors import InputError
from small_vit.sweeps.local import train_or_resume

RETRIES = 3
"""How often a run is resumed on another node after its node has died."""


def run_on_ray(address, **options):
    """Return an `execute` function for `run_sweep` that trains on a Ray cluster.

    Ray gives each run one GPU if the cluster has any, else one CPU core.

    Args:
        address: "HOST:PORT" of the cluster's head, or "auto" on one of its nodes.
        **options: As for `run_here`.

    Raises:
        InputError: if Ray is not installed or no cluster answers there.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise InputError("--ray needs Ray: pip install -e '.[ray]'.") from None
    # Variables that `small_vit.cli.process` sets; a worker reads them when it starts.
    names = (
        "TF_CPP_MIN_LOG_LEVEL",
        "JAX_COMPILATION_CACHE_DIR",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS",
        "GLIBC_TUNABLES",
    )
    environment = {name: os.environ[name] for name in names if name in os.environ}
    environment |= {"KERAS_BACKEND": keras.backend.backend()}
    try:
        _require_answer(address)
        ray.init(address, runtime_env={"env_vars": environment})
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"No Ray cluster answers at --ray {address}: {error}") from error
    gpus = 1 if ray.cluster_resources().get("GPU") else 0
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_train)

    def execute(runs):
        runs_by_task = {}
        for run in runs:
            config = _with_absolute_data_dir(run.config).to_dict()
            started = task.remote(config, run.directory.resolve(), sys.argv, options)
            runs_by_task[started] = run
        while runs_by_task:
            (ended,), _ = ray.wait(list(runs_by_task), num_returns=1)
            yield runs_by_task.pop(ended), _outcome(ray, ended)

    return execute


def _require_answer(address):
    """Fail at once if nothing listens at `address`; Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=5).close()


def _train(config, directory, command, options):
    """Train one run, in a worker."""
    sys.argv = command  # for environment.json: the sweep's command, not Ray's
    return train_or_resume(ExperimentConfig.from_dict(config), directory, **options)


def _outcome(ray, ended):
    try:
        return ray.get(ended)
    except ray.exceptions.RayTaskError as error:
        return error.cause  # what the run itself raised
    except ray.exceptions.RayError as error:
        return error


def _with_absolute_data_dir(config):
    if config.data.data_dir is None:
        return config
    path = os.fspath(Path(config.data.data_dir).expanduser().resolve())
    return config.replace(data={"data_dir": path})
