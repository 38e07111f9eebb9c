"""Who is compared, on which backend, in which arms."""

import os
from dataclasses import dataclass
from typing import Literal

from .workload import head_name, with_common_head

Backend = Literal["tensorflow", "jax", "torch"]
Name = Literal[
    "ours",
    "ours-common-head",
    "ours-system-malloc",
    "ours-keras-augmentation",
    "ours-keras-dropout",
    "ours-without-xla",
    "ours-device-per-core",
    "keras-example",
    "keras-example-system-malloc",
    "vit-pytorch",
    "vit-pytorch-compiled",
    "transformers",
    "transformers-compiled",
    "timm",
    "timm-compiled",
]

# What each library has of the two arms: vit-pytorch's model for small datasets is SPT+LSA only.
_ARMS = {"vit-pytorch": ("spt+lsa",), "transformers": ("vanilla",), "timm": ("vanilla",)}

# Ways to run ours that only one backend has.
_ONLY_ON = {
    "ours-without-xla": "tensorflow",
    "ours-device-per-core": "jax",
}


@dataclass(frozen=True)
class Contender:
    """One of those compared.

    - `ours`: the train step of `run_experiment`.
    - `ours-common-head`: the same for the model cut to what all libraries have, so that it does
      the arithmetic of the libraries' models.
    - `ours-keras-augmentation`, `ours-keras-dropout`: the same with Keras's own layers of the
      example's augmentation, or with dropout on its own generator.
    - `ours-without-xla` on TensorFlow, `ours-device-per-core` on JAX: other ways to run it; see
      `VARIANTS`.
    - `keras-example`: the Keras example's own formulation in plain Keras layers.
    - `…-system-malloc`: the same without what `run_cifar100.py` sets of malloc, which all others
      have too.
    - `vit-pytorch`, `transformers`, `timm`: those libraries' models, on PyTorch; `-compiled`:
      under `torch.compile`.

    Attributes:
        name: As above.
        backend: Framework.
        without: Part of our step that is left out; see `PARTS`.
    """

    name: Name
    backend: Backend
    without: str | None = None

    @property
    def environment(self):
        """Variables that the environment of its process has, a dict."""
        if self.name.endswith("-system-malloc"):
            # Set to nothing, it stays so; unset, the worker sets it as `run_cifar100.py` does.
            return {"GLIBC_TUNABLES": ""}
        if self.name == "ours-device-per-core":
            devices = f"--xla_force_host_platform_device_count={os.cpu_count()}"
            return {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {devices}"}
        return {}

    @property
    def library(self):
        """The other library's name; None for Keras contenders."""
        library = self.name.removesuffix("-compiled")
        return library if library in _ARMS else None

    @property
    def is_of_its_backend(self):
        """Whether there is such a contender on that backend."""
        if self.library:
            return self.backend == "torch"
        return self.backend == _ONLY_ON.get(self.name, self.backend)

    def has(self, workload):
        """Return whether the contender has the workload's arm and augmentation."""
        has_arm = workload.arm in _ARMS.get(self.library, (workload.arm,))
        if self.name == "ours-keras-augmentation":
            return workload.augmentation == "example"
        return has_arm and not (self._is_keras_example and workload.augmentation == "paper")

    def model(self, workload):
        """Return the `ModelConfig` whose arithmetic the contender does."""
        config = workload.config.model
        if self.library or self.name == "ours-common-head":
            return with_common_head(config)
        if self._is_keras_example and config.pooling != "flatten":
            return config.replace(pooling="mean")
        return config

    def head(self, workload):
        """Name the head, for a row."""
        return head_name(self.model(workload))

    def prepare(self, workload):
        """Build it in this process, whose Keras backend must be `backend`.

        Returns:
            `Prepared`.
        """
        # Each family imports its frameworks, of which this process may have only one.
        if self.library:
            from . import peers

            return peers.prepare(workload, self.library, self.name.endswith("-compiled"))
        if self._is_keras_example:
            from . import keras_example

            return keras_example.prepare(workload)
        from . import ours, parts, variants

        change = parts.PARTS[self.without] if self.without else variants.VARIANTS[self.name]
        return ours.prepare(workload, change)

    @property
    def _is_keras_example(self):
        return self.name.startswith("keras-example")

    def __str__(self):
        return f"{self.name}/{self.backend}" + (f" without {self.without}" if self.without else "")


def all_contenders(backends, names):
    """Return the contenders with these names on these backends."""
    every = [Contender(name, backend) for backend in backends for name in names]
    return [each for each in every if each.is_of_its_backend]
