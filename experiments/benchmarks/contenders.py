"""Who is compared, on which backend, in which arms."""

from dataclasses import dataclass
from typing import Literal

from .workload import Arm, head_name, with_common_head

Backend = Literal["tensorflow", "jax", "torch"]
Name = Literal[
    "ours",
    "ours-common-head",
    "keras-example",
    "vit-pytorch",
    "vit-pytorch-compiled",
    "transformers",
    "transformers-compiled",
    "timm",
    "timm-compiled",
]

# What each library has of the two arms: vit-pytorch's model for small datasets is SPT+LSA only.
_ARMS = {"vit-pytorch": ("spt+lsa",), "transformers": ("vanilla",), "timm": ("vanilla",)}


@dataclass(frozen=True)
class Contender:
    """One of those compared.

    - `ours`: the train step of `run_experiment`.
    - `ours-common-head`: the same for the model cut to what all libraries have, so that it does
      the arithmetic of the libraries' models.
    - `keras-example`: the Keras example's own formulation in plain Keras layers.
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
    def library(self):
        """The other library's name; None for Keras contenders."""
        library = self.name.removesuffix("-compiled")
        return library if library in _ARMS else None

    def has(self, arm: Arm):
        """Return whether the contender can be built with or without the paper's parts."""
        return arm in _ARMS.get(self.library, (arm,))

    def model(self, workload):
        """Return the `ModelConfig` whose arithmetic the contender does."""
        config = workload.config.model
        if self.library or self.name == "ours-common-head":
            return with_common_head(config)
        if self.name == "keras-example" and config.pooling != "flatten":
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
        if self.name == "keras-example":
            from . import keras_example

            return keras_example.prepare(workload)
        from . import ours

        return ours.prepare(workload, self.name == "ours-common-head", self.without)

    def __str__(self):
        return f"{self.name}/{self.backend}" + (f" without {self.without}" if self.without else "")


def all_contenders(backends, names):
    """Return the contenders with these names (empty: all of them) on these backends."""
    keras_names = ("ours", "ours-common-head", "keras-example")
    wanted = names or Name.__args__
    return [
        Contender(name, backend)
        for backend in backends
        for name in wanted
        if name in keras_names or backend == "torch"
    ]
