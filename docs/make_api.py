"""Write docs/api.md from the docstrings of the public names: `python docs/make_api.py`.

With `--check` it changes nothing, and exits with 1 if the page is not up to date.
"""

import ast
import dataclasses
import importlib
import inspect
import itertools
import sys
import textwrap
from pathlib import Path

import small_vit
from small_vit.files import write_text

PAGE = Path(__file__).with_name("api.md")

ALSO = {
    "small_vit.recipes": ("RECIPES",),
    "small_vit.recipes.folders": ("for_folder", "on_folder"),
    "small_vit.recipes.fine_tune": ("starting_from",),
    "small_vit.training.run": ("run_experiment",),
    "small_vit.results.result": ("Result",),
    "small_vit.results.saved_model": ("load_model", "kind_of_outputs", "class_probabilities"),
    "small_vit.results.image_predictions": ("predict_files",),
    "small_vit.models.registry": (
        "model_config",
        "named_model",
        "build_classifier",
        "backbone_and_head",
        "count_multiply_adds",
    ),
    "small_vit.models.convert": ("read_state_dict", "from_state_dict"),
    "small_vit.models.pretrained.build": ("pretrained_classifier",),
    "small_vit.data.registry": ("load_dataset", "load_data"),
    "small_vit.data.dataset": ("Dataset",),
    "small_vit.data.split": ("Split",),
    "small_vit.data.image_files": ("read_image",),
    "small_vit.plots": (
        "plot_captioned",
        "plot_patches",
        "plot_shifted_views",
        "plot_augmentations",
        "plot_curves",
        "plot_attention",
        "plot_temperatures",
        "save",
    ),
    "small_vit.errors": ("InputError",),
}
"""Public names that are imported from a module of the package, by module."""

HEAD = """# API reference

Made from the docstrings by `python docs/make_api.py`. The first names are imported from `small_vit`
itself, the others from the module that is named.
"""


def render():
    """Return the page."""
    modules = {"small_vit": tuple(small_vit.__all__), **ALSO}
    lines = [HEAD]
    for module, names in modules.items():
        links = ", ".join(f"[`{name}`](#{name.lower()})" for name in names)
        lines.append(f"- `{module}`: {links}")
    for module, names in modules.items():
        lines.append(f"\n## From `{module}`")
        lines += [_entry(module, name) for name in names]
    return "\n".join(lines) + "\n"


def _entry(module, name):
    value = getattr(importlib.import_module(module), name)
    if not callable(value):
        return f"\n### `{name}`\n\n```text\n{', '.join(value)}\n```"
    text = _docstring(value)
    summary, _, rest = text.partition("\n\n")
    parts = [f"\n### `{name}`", f"```python\n{_call(name, value)}\n```", " ".join(summary.split())]
    if dataclasses.is_dataclass(value) and "Attributes:" not in rest:
        rest = f"{rest}\n\n{_fields(value)}".strip()
    if rest:
        parts.append(f"```text\n{rest}\n```")
    return "\n\n".join(parts)


def _fields(dataclass):
    """The fields of a dataclass that are explained by a string after them."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(dataclass))).body
    lines = ["Attributes:"]
    for field, explained in itertools.pairwise(body.body):
        match field, explained:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                text = f"{name}: {' '.join(text.split())}"
                indents = {"initial_indent": "    ", "subsequent_indent": "        "}
                lines += textwrap.wrap(text, 100, break_on_hyphens=False, **indents)
    return "\n".join(lines)


def _docstring(value):
    """The docstring; of a class without one, that of its constructor."""
    return inspect.cleandoc(value.__doc__ or value.__init__.__doc__)


def _call(name, value):
    """The call with its defaults, an argument a line if it would not fit on one."""
    if isinstance(value, type) and issubclass(value, Exception):
        return f"{name}(message)"
    signature = inspect.signature(value)
    bare = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
    arguments = [str(each) for each in bare]
    line = f"{name}({', '.join(arguments)})"
    if len(line) <= 100:
        return line
    return "\n".join([f"{name}(", *(f"    {each}," for each in arguments), ")"])


def main():
    """Write the page, or check it."""
    text = render()
    if "--check" in sys.argv[1:]:
        current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == text
        sys.exit(0 if current else f"{PAGE} is not up to date. Run: python docs/make_api.py")
    write_text(PAGE, text)
    print(f"Written to {PAGE}")


if __name__ == "__main__":
    main()
