"""Recipes by name or from YAML, and settings of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

from boxwright._util.yaml_files import YamlError, parse_yaml
from boxwright.choices import is_own
from boxwright.errors import RecipeError
from boxwright.recipes.builtin import DETECTORS
from boxwright.recipes.keys import RecipeKeys
from boxwright.recipes.recipe import Recipe, base_recipe, key_types
from boxwright.text import did_you_mean
from boxwright.values import coerce, shown


def list_recipes() -> list[str]:
    """Names of the built-in recipes."""
    return sorted(DETECTORS)


def get_recipe(name_or_path: str | Path, **options: Unpack[RecipeKeys]) -> Recipe:
    """A recipe with ``options`` on top: a built-in one by its name, an own detector's as ``module:SPEC``, or a file's.

    A file starts from the built-in recipe that its ``detector`` names. Raises RecipeError.
    """
    if str(name_or_path) in DETECTORS or is_own("detector", str(name_or_path)):
        return base_recipe(str(name_or_path)).replace(**options)
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        raise RecipeError(f"unknown recipe {shown(str(name_or_path))}{did_you_mean(str(name_or_path), DETECTORS)}")
    values = read_yaml(path, "the recipe")
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: Expected recipe keys and values")
    base = values.get("detector", "lite320")
    if not isinstance(base, str):
        raise RecipeError(f"{path}: unknown detector {shown(base)}{did_you_mean(str(base), DETECTORS)}")
    try:
        return base_recipe(base).replace(**{**values, **options})
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """``["lr=1e-3", "strides=[8, 16]"]`` -> values by key, as the type of the recipe's key where there is one.

    Raises RecipeError where there is no ``=``, and for a value that is of another type or no YAML.
    """
    options, kinds = {}, key_types()
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip()
        if not equals or not key:
            raise RecipeError(f"Expected --set key=value but got {shown(setting)}")
        try:
            value = parse_yaml(text)
        except YamlError as error:
            raise RecipeError(f"can't read the value of --set {shown(setting)}: {error}") from None
        options[key] = coerce(key, value, kinds[key]) if key in kinds else value
    return options


def read_yaml(path: Path, what: str) -> Any:
    """The content of a YAML file, as ``parse_yaml`` gives it.

    Raises RecipeError, which says ``what`` the file is, where it can't be read.
    """
    try:
        if path.exists() and not path.is_file():  # reading a FIFO or a device may never end
            raise RecipeError(f"can't read {what} {path}: it is no file")
        return parse_yaml(path.read_bytes())
    except YamlError as error:
        raise RecipeError(f"{path} is no valid YAML: {error}") from None
    except OSError as error:
        raise RecipeError(f"can't read {what} {path}: {error.strerror}") from None
