"""Vision Transformers trained from scratch on small datasets, in Keras 3.

Importing the package registers its layers with Keras, so that a saved model loads. Keras itself is
imported only when it is needed. It takes seconds, and `--help` does not need it.
"""

import importlib
import importlib.abc
import importlib.util
import sys

__version__ = "0.1.0"

_MODULES = {
    "small_vit.augment": (
        "AutoAugment",
        "Mix",
        "RandomAffine",
        "PaddedRandomCrop",
        "RandomErasing",
    ),
    "small_vit.config": ("AugmentConfig", "DataConfig", "ExperimentConfig", "TrainConfig"),
    "small_vit.deploy.hub": ("load",),
    "small_vit.layers": (
        "ClassTokenPooling",
        "FastDropout",
        "MultiHeadAttentionLSA",
        "PatchEncoder",
        "Resize",
        "SequencePooling",
        "ShiftedPatchTokenization",
        "StochasticDepth",
        "TransformerBlock",
    ),
    "small_vit.models.vit.build": ("create_vit_classifier",),
    "small_vit.models.vit.config": ("ViTConfig",),
    "small_vit.training.losses": ("CrossEntropy", "FocalLoss", "NegativeLogLikelihood"),
    "small_vit.training.optimizers": ("AdamW",),
    "small_vit.training.schedules": ("WarmUpCosine",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name):
    """Import a public name from its module when it is first used."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})


class _RegisterWithKeras(importlib.abc.MetaPathFinder):
    """Registers the layers at the end of the first `import keras` that succeeds."""

    searching = False

    def find_spec(self, name, path=None, target=None):
        """Find Keras as Python does, and register when it has been imported."""
        if name != "keras" or self.searching:
            return None
        self.searching = True
        try:
            spec = importlib.util.find_spec("keras")
        finally:
            self.searching = False
        if spec is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module):
                execute(module)
                if self in sys.meta_path:
                    sys.meta_path.remove(self)
                importlib.import_module("small_vit.registration")

            spec.loader.exec_module = execute_and_register
        return spec


if "keras" in sys.modules:
    importlib.import_module("small_vit.registration")
else:
    sys.meta_path.insert(0, _RegisterWithKeras())
