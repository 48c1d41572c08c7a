"""Recipes by name or from YAML, and settings of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from boxwright.errors import RecipeError
from boxwright.recipes.builtin import RECIPES
from boxwright.recipes.recipe import Recipe
from boxwright.text import did_you_mean


def list_recipes() -> list[str]:
    """Names of the built-in recipes."""
    return sorted(RECIPES)


def get_recipe(name_or_path: str | Path, **options: Any) -> Recipe:
    """A built-in recipe by its name, or one from a YAML file, with ``options`` on top.

    A file starts from the built-in recipe that its ``detector`` names. Raises RecipeError.
    """
    if str(name_or_path) in RECIPES:
        return RECIPES[str(name_or_path)].replace(**options)
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        raise RecipeError(f"unknown recipe {str(name_or_path)!r}{did_you_mean(str(name_or_path), RECIPES)}")
    values = read_yaml(path, "the recipe")
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise RecipeError(f"{path}: Expected recipe keys and values")
    base = values.get("detector", "lite320")
    if base not in RECIPES:
        raise RecipeError(f"{path}: unknown detector {base!r}{did_you_mean(str(base), RECIPES)}")
    try:
        return RECIPES[base].replace(**{**values, **options})
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """``["lr=1e-3", "strides=[8, 16]"]`` -> values by key, read as YAML. Raises RecipeError where there is no ``=``."""
    options = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key.strip():
            raise RecipeError(f"Expected --set key=value but got {setting!r}")
        try:
            options[key.strip()] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise RecipeError(f"can't read the value of --set {setting!r}") from None
    return options


def read_yaml(path: Path, what: str) -> Any:
    """The content of a YAML file. Raises RecipeError, which says ``what`` the file is, where it can't be read."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"can't read {what} {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise RecipeError(f"{path} is no valid YAML") from None
