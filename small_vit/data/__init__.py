"""Small image datasets, with subsets and validation splits."""

from small_vit.data.dataset import Dataset, fingerprint
from small_vit.data.registry import DATASETS, load_data, load_dataset
from small_vit.data.split import Split
from small_vit.data.splits import hold_out, take_balanced

__all__ = [
    "DATASETS",
    "Dataset",
    "Split",
    "fingerprint",
    "hold_out",
    "load_data",
    "load_dataset",
    "take_balanced",
]
