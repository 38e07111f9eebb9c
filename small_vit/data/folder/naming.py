"""Names of parts in folders and tables, and names in messages."""

PART_OF = {
    "train": "training",
    "training": "training",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""The part that a folder or an entry of a table stands for, by its name in lower case."""


def some(names):
    """Return up to five names in a line, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(str, names[:5])) + more
