"""Import the modules of custom parts: those that the user names, and no others."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from boxwright._util.tracebacks import described
from boxwright.catalog import PART_KEYS
from boxwright.choices import is_own, parse_choice
from boxwright.errors import RecipeError


def own_modules(values: Mapping[str, Any]) -> list[str]:
    """List the modules whose custom parts a recipe's values name, each once."""
    names = (parse_choice(role, text).name for _, role, text in _own_values(values))
    return list(dict.fromkeys(name.partition(":")[0] for name in names))


def folder_of(module: str) -> str:
    """Return the folder of an imported module, for the path of another process; "" for built-in ones."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return "" if file is None else str(Path(file).parents[module.count(".") + (Path(file).stem == "__init__")])


def import_code(modules: Iterable[str] | str, folder: str | None = None) -> None:
    """Import one or more modules that the user named, also from a folder: the current one by default."""
    for module in [modules] if isinstance(modules, str) else modules:
        if module in sys.modules:
            continue
        here = str(Path.cwd()) if folder is None else folder
        if here not in sys.path:
            sys.path.insert(0, here)
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise RecipeError(f"the module {module} can't be imported: {error}") from None
            raise RecipeError(f"no module {module}: it is looked for in {here} and among the installed ones") from None
        except Exception as error:
            reason = described(error, within=here)
            raise RecipeError(f"the module {module} can't be imported: {reason}") from None


def describe_code(values: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Describe the custom part that each key names, with its file and the file's SHA-256, for a run's record."""
    described = {}
    for key, role, text in _own_values(values):
        name = parse_choice(role, text).name
        source = getattr(sys.modules.get(name.partition(":")[0]), "__file__", None)
        described[key] = {"part": name}
        if source is not None and Path(source).is_file():
            digest = hashlib.sha256(Path(source).read_bytes()).hexdigest()
            described[key] |= {"file": Path(source).name, "sha256": digest}
    return described


def _own_values(values: Mapping[str, Any]) -> Iterable[tuple[str, str, str]]:
    """Yield the key, the kind of part it names, and its text."""
    for key, text in values.items():
        role = key.removeprefix("rpn_")
        if role in (*PART_KEYS, "detector") and isinstance(text, str) and is_own(role, text):
            yield key, role, text
