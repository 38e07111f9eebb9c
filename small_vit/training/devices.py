"""Devices and precision: CPU, GPUs or TPU, on one host or several."""

import os
import platform
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras

from small_vit import hosts
from small_vit.errors import InputError


@contextmanager
def precision(name):
    """Set the dtype policy of a precision within a block, then restore the old one."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name if name == "float32" else f"mixed_{name}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@dataclass(frozen=True)
class Strategy:
    """The devices of a run.

    Attributes:
        devices: Number of devices that share each batch.
        description: Their readable name.
        scope: Function that returns a new context manager to build and train the model in.
    """

    devices: int
    description: str
    scope: Callable


def choose_strategy(name="auto"):
    """Choose devices by name on the Keras backend in use.

    On TensorFlow several devices train under `tf.distribute` (`MirroredStrategy`, `TPUStrategy`),
    on JAX under `keras.distribution.DataParallel`. On PyTorch there is one device. `"cpu"` takes
    every CPU device of the backend: one, unless the backend was set to split the CPU. If the
    environment names several hosts (`small_vit.hosts`), the devices are those of all hosts.

    Args:
        name: `"auto"` (the TPU, else all GPUs, else the CPU), `"cpu"`, `"gpu"` (the first),
            `"multi-gpu"` (all, at least two) or `"tpu"`.

    Returns:
        A `Strategy`.

    Raises:
        InputError: if the devices are absent; the message lists those present. Also as
            `connect`.
    """
    backend = keras.backend.backend()
    hosts.connect()
    if hosts.several() and name == "gpu":
        raise InputError("--strategy gpu is one device of one host. Choose auto or multi-gpu.")
    find, scope_of = {
        "tensorflow": (_tensorflow_devices, _tensorflow_scope),
        "jax": (_jax_devices, _jax_scope),
        "torch": (_torch_devices, _torch_scope),
    }[backend]
    found = find()
    kind, devices = _pick(name, found)
    if not devices or (name == "multi-gpu" and len(devices) < 2):
        present = ", ".join(
            f"{len(names)} {kind.upper()}" for kind, names in found.items() if names
        )
        raise InputError(
            f"--strategy {name} needs devices that {backend} does not find. It finds: {present}. "
            "Choose auto, or one that is present."
        )
    device_name = _cpu_name() if kind == "cpu" else _accelerator_name(backend, kind)
    description = device_name if len(devices) == 1 else f"{len(devices)} x {device_name}"
    return Strategy(len(devices), description, scope_of(kind, devices, found))


def _pick(name, found):
    if name == "auto":
        kind = next(kind for kind in ("tpu", "gpu", "cpu") if found[kind])
        return kind, found[kind]
    if name == "gpu":
        return "gpu", found["gpu"][:1]
    kind = "gpu" if name == "multi-gpu" else name
    return kind, found[kind]


def _tensorflow_devices():
    import tensorflow as tf

    # TPU cores become logical devices only when the TPU system is initialised.
    tpu = [device.name for device in tf.config.list_physical_devices("TPU")]
    logical = {
        kind: [device.name for device in tf.config.list_logical_devices(kind.upper())]
        for kind in ("cpu", "gpu")
    }
    return {**logical, "tpu": tpu}


def _tensorflow_scope(kind, devices, found):
    import tensorflow as tf

    if kind == "tpu":
        # Only TPUs of this machine; others would need an address.
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver("local")
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver).scope
    if len(devices) > 1:
        return tf.distribute.MirroredStrategy(devices).scope
    return partial(tf.device, devices[0]) if found["gpu"] else nullcontext


def _jax_devices():
    import jax

    found = {}
    for kind in ("cpu", "gpu", "tpu"):
        try:
            found[kind] = [f"{kind}:{device.id}" for device in jax.devices(kind)]
        except RuntimeError:  # JAX raises it for a platform that is not present
            found[kind] = []
    return found


def _jax_scope(kind, devices, found):
    default = next(kind for kind in ("tpu", "gpu", "cpu") if found[kind])
    if len(devices) == 1 and kind == default:
        return nullcontext
    # Each host takes its own share of the data.
    return keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False).scope


def _torch_devices():
    import torch

    # On PyTorch Keras trains on one device: the first GPU, Nvidia's or Apple's.
    gpus = ["cuda:0"] if torch.cuda.is_available() else []
    gpus = gpus or (["mps"] if torch.backends.mps.is_available() else [])
    return {"cpu": ["cpu"], "gpu": gpus, "tpu": []}


def _torch_scope(kind, devices, found):
    default = "gpu" if found["gpu"] else "cpu"
    if kind != default:
        raise InputError(
            "On the torch backend training runs on Keras's default device "
            f"({default}) only. Use --strategy {default}, or --backend tensorflow or jax."
        )
    return nullcontext


def _cpu_name():
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    # If the system says so, only the cores this process may use (taskset, containers).
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} core{'s' * (cores > 1)}"


def _accelerator_name(backend, kind):
    if backend == "jax":
        import jax

        return jax.devices(kind)[0].device_kind
    if backend == "torch":
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else "Apple GPU"
    import tensorflow as tf

    device = tf.config.list_physical_devices(kind.upper())[0]
    details = tf.config.experimental.get_device_details(device) if kind == "gpu" else {}
    return details.get("device_name", kind.upper())
