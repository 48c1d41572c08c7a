"""The pages of the Python API: every public name, which mkdocstrings fills from its docstring."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import boxwright

MORE = (
    *("check", "criterion", "demo_data", "drawing", "errors", "export", "report", "reproduce", "runs", "runs.assess"),
    *("runs.starts", "runtime", "serve", "simulate", "training"),
)
"""Modules beside those of ``boxwright.__all__`` whose names people import."""


@cache
def public_names() -> dict[str, tuple[str, ...]]:
    """Module -> its public names, boxwright itself first."""
    modules = [name for name in boxwright.__all__ if isinstance(getattr(boxwright, name), ModuleType)]
    own = tuple(name for name in boxwright.__all__ if name not in (*modules, "__version__"))
    found = {name: tuple(_names(import_module(f"boxwright.{name}"))) for name in sorted({*modules, *MORE})}
    return {"boxwright": own, **{f"boxwright.{name}": names for name, names in found.items() if names}}


def api_pages() -> dict[str, str]:
    """Return a page for each module, by their paths in the site."""
    return {_path(module): _page(module, names) for module, names in public_names().items()}


def page_of(module: str, attribute: str) -> str | None:
    """Return where the documentation of what a module defines stands, seen from reference/; None: nowhere."""
    for package in [each for each in public_names() if each != "boxwright"]:
        if (module == package or module.startswith(f"{package}.")) and attribute in public_names()[package]:
            return f"{_path(package).removeprefix('reference/')}#{package}.{attribute}"
    return None


def _path(module: str) -> str:
    return f"reference/python/{module.rpartition('.')[2]}.md"


def _page(module: str, names: tuple[str, ...]) -> str:
    options = "{members: [], show_root_heading: false, show_root_toc_entry: false}"
    head = f"# {module}\n\n::: {module}\n    options: {options}"
    return "\n\n".join([head, *(f"::: {module}.{name}" for name in names)]) + "\n"


def _names(module: ModuleType) -> Iterator[str]:
    """``__all__``; without it the public names that the module's source defines."""
    if hasattr(module, "__all__"):
        yield from module.__all__
        return
    assert module.__file__ is not None
    for node in ast.parse(Path(module.__file__).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            targets = [node.name]
        elif isinstance(node, ast.Assign):
            targets = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            targets = [node.target.id]
        else:
            continue
        yield from (name for name in targets if not name.startswith("_") and not _is_type_variable(module, name))


def _is_type_variable(module: ModuleType, name: str) -> bool:
    return isinstance(getattr(module, name), TypeVar)
