"""Which models and train steps are compared, and on which backends."""

import math
from dataclasses import dataclass
from typing import Literal

from small_vit.models.registry import OF_ANY_SIZE, named_model

Backend = Literal["tensorflow", "jax", "torch"]
Name = Literal[
    "ours",
    "ours-common-head",
    *OF_ANY_SIZE,
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
      all compute the same.
    - `hybrid`, `cct-2/3x2`, `resnet20`, …: the same step with the model of that name, for images of
      the size of the workload's model. The arm does not matter to it.
    - `keras-example`: the Keras example's own code, in plain Keras layers.
    - `vit-pytorch`, `transformers`, `timm`: those libraries' models, on PyTorch; `-compiled`:
      under `torch.compile`.
    - `peaks`: no model; a large matrix product and a copy, to measure the machine's peak rates.

    Attributes:
        name: One of the names above.
        backend: Keras backend.
    """

    name: Name | Literal["peaks"]
    backend: Backend

    @property
    def library(self):
        """Name of the other library; None if it is ours or the Keras example's."""
        library = self.name.removesuffix("-compiled")
        return library if library in _LIBRARY_ARMS else None

    @property
    def convolutional(self):
        """Whether its model begins with convolutions, or is made of them."""
        return self.name in OF_ANY_SIZE

    def supports(self, workload):
        """Return whether the contender has the workload's arm and augmentation."""
        if self.library:
            return workload.arm == _LIBRARY_ARMS[self.library]
        return self.name != "keras-example" or workload.augmentation != "paper"

    def model(self, workload):
        """Return the config of the model that the contender computes."""
        model = workload.config.model
        if self.convolutional:
            return named_model(self.name, model.image_size)
        if self.name == "keras-example" and model.pooling != "flatten":
            return model.replace(pooling="mean")
        if self.name in ("ours", "keras-example"):
            return model
        # All libraries have a class token with one linear layer on it, no GELU after the MLP's
        # output, and no stochastic depth.
        head = {"pooling": "class_token", "head_units": (), "head_dropout": 0.0}
        return model.replace(**head, mlp_output_activation=False, stochastic_depth=0.0)

    def prepare(self, workload):
        """Build the contender in this process, where the Keras backend must be `backend`.

        Returns:
            `(run, parameters)`: a function without arguments, and the number of trainable weights.
            The function does the work of one measurement, and returns when the device has finished
            it. It returns None or a dict of figures.
        """
        # Imported here: a process may have only one backend, and only some of the libraries.
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
