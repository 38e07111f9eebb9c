"""Small image datasets as uint8 arrays, with the subsets and hold-outs that training needs."""

from small_vit.datasets.dataset import Dataset, Split, fingerprint
from small_vit.datasets.registry import DATASETS, load
from small_vit.datasets.splits import hold_out, take_balanced

__all__ = ["DATASETS", "Dataset", "Split", "fingerprint", "hold_out", "load", "take_balanced"]
