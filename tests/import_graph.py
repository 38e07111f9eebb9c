"""Print who imports whom in the package: `python tests/import_graph.py`.

A line is a floor: a module or folder of small_vit, and what it imports from the others. Imports go
down the page only.
"""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "small_vit"


def module_imports():
    """Return, by the name of each module of the package, the set of the modules it imports."""
    names = {_name(path): path for path in PACKAGE.rglob("*.py")}
    return {name: _imports(path, names) - {name} for name, path in names.items()}


def floor_imports():
    """Return, by floor, the set of the floors it imports, from top to bottom.

    Raises:
        graphlib.CycleError: if floors import each other.
    """
    floors = {}
    for name, imported in module_imports().items():
        below = floors.setdefault(_floor(name), set())
        below |= {_floor(other) for other in imported} - {_floor(name)}
    order = list(TopologicalSorter(floors).static_order())
    return {name: floors[name] for name in reversed(order)}


def _name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _floor(name):
    return name.split(".")[1] if "." in name else name


def _imports(path, names):
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in names else node.module)
    return found & set(names)


if __name__ == "__main__":
    imported = floor_imports()
    width = max(map(len, imported))
    for floor, below in imported.items():
        ordered = [name for name in imported if name in below]
        print(f"{floor:<{width}}  {' '.join(ordered)}".rstrip())
