"""A dataset of image files: its splits, and what is known about its files."""

from dataclasses import dataclass

from small_vit.data.dataset import Dataset


@dataclass(frozen=True)
class Duplicates:
    """Files that hold the same picture.

    Attributes:
        files: Their paths, relative to the dataset's folder.
        classes: The class name of each.
        parts: The split of each: "training", "validation" or "test".
        exact: Whether their pixels are equal at the dataset's size; otherwise they look alike.
    """

    files: tuple[str, ...]
    classes: tuple[str, ...]
    parts: tuple[str, ...]
    exact: bool


@dataclass(frozen=True, eq=False)
class FolderDataset(Dataset):
    """A `Dataset` of image files.

    Attributes:
        files: By split ("training", "validation", "test"), the path of each image, relative to the
            dataset's folder, in the order of the split.
        skipped: `(path, reason)` of each file that was left out because it cannot be read.
        duplicates: Groups of files that hold the same picture, those that were dropped included.
        dropped: Paths of the duplicates that were left out.
        notes: Sentences that say what was decided: channels, fit, where the splits are from.
    """

    files: dict[str, tuple[str, ...]] | None = None
    skipped: tuple[tuple[str, str], ...] = ()
    duplicates: tuple[Duplicates, ...] = ()
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def describe(self):
        """Return lines for a person: the notes, and how many files were skipped or occur twice."""
        lines = [f"{self.name}: {len(self.class_names)} classes.", *self.notes]
        if self.skipped:
            lines.append(f"Left out: {len(self.skipped)} files that cannot be read as images.")
        if self.duplicates:
            parts = sum(len(set(group.parts)) > 1 for group in self.duplicates)
            classes = sum(len(set(group.classes)) > 1 for group in self.duplicates)
            lines.append(
                f"Pictures that occur more than once: {len(self.duplicates)}; {parts} in several "
                f"splits, {classes} in several classes; files left out: {len(self.dropped)}. "
                "The report lists them."
            )
        return lines
