"""The base class of each family's count of multiply-adds."""

from dataclasses import astuple


class Parts:
    """Base of a dataclass of multiply-adds of the matrix products in one image's forward pass."""

    @property
    def total(self):
        """Their sum."""
        return sum(astuple(self))
