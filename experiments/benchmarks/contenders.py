"""Which models and train steps are compared, and on which backends."""

import math
from dataclasses import dataclass
from typing import Literal

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

# The arms each library has: vit-pytorch's model for small datasets is SPT+LSA only.
_LIBRARY_ARMS = {"vit-pytorch": "spt+lsa", "transformers": "vanilla", "timm": "vanilla"}


@dataclass(frozen=True)
class Contender:
    """A model with its train step on one backend.

    - `ours`: the train step of `run_experiment`.
    - `ours-common-head`: the same step; the model has the head of the libraries' models, so that
      all do equal arithmetic.
    - `keras-example`: the Keras example's own formulation in plain Keras layers.
    - `vit-pytorch`, `transformers`, `timm`: those libraries' models, on PyTorch; `-compiled`:
      under `torch.compile`.
    - `peaks`: no model; a large matrix product and a copy, to see what the machine can do.

    Attributes:
        name: As above.
        backend: Framework.
    """

    name: Name | Literal["peaks"]
    backend: Backend

    @property
    def library(self):
        """The other library's name; None for all else."""
        library = self.name.removesuffix("-compiled")
        return library if library in _LIBRARY_ARMS else None

    def supports(self, workload):
        """Return whether the contender has the workload's arm and augmentation."""
        if self.library:
            return workload.arm == _LIBRARY_ARMS[self.library]
        return self.name != "keras-example" or workload.augmentation != "paper"

    def model(self, workload):
        """Return the `ViTConfig` whose arithmetic the contender does."""
        model = workload.config.model
        if self.name == "keras-example" and model.pooling != "flatten":
            return model.replace(pooling="mean")
        if self.name in ("ours", "keras-example"):
            return model
        # What every library has: a class token and one linear layer on it, no GELU after the
        # MLP's output, no skipped branches.
        head = {"pooling": "class_token", "head_units": (), "head_dropout": 0.0}
        return model.replace(**head, mlp_output_activation=False, stochastic_depth=0.0)

    def prepare(self, workload):
        """Build it in this process, whose Keras backend must be `backend`.

        Returns:
            `(run, parameters)`: a function without arguments that makes one measurement's work and
            returns when the device has finished it, and the number of trainable weights. What the
            function returns, if anything, is a dict of figures.
        """
        # A process may have only one framework, and only some of the libraries.
        if self.name == "peaks":
            from . import peaks

            return peaks.prepare(workload.precision), 0
        if self.library:
            from . import peers

            compiled = self.name.endswith("-compiled")
            return peers.prepare(workload, self.model(workload), self.library, compiled)
        import keras

        from small_vit.training.devices import choose_strategy

        from . import keras_example, ours

        family = keras_example if self.name == "keras-example" else ours
        strategy = choose_strategy("auto")
        model, train = family.prepare(workload, self.model(workload), strategy)

        def run():
            with strategy.scope():
                train()
            keras.ops.convert_to_numpy(model.trainable_variables[-1])  # waits for the device

        return run, sum(math.prod(weight.shape) for weight in model.trainable_weights)

    def __str__(self):
        return f"{self.name}/{self.backend}"


def all_contenders(backends, names):
    """Return the contenders with these names on these backends; libraries are on torch only."""
    every = [Contender(name, backend) for backend in backends for name in names]
    return [each for each in every if not each.library or each.backend == "torch"]
