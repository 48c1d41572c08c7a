"""Recipes by name or from YAML, and settings of the command line."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any, Unpack

from boxwright._util.yaml_files import YamlError, parse_yaml
from boxwright.catalog import Entry, find_part, installed
from boxwright.choices import entry_object, is_own
from boxwright.errors import RecipeError
from boxwright.recipes.builtin import DETECTORS, known_detectors
from boxwright.recipes.keys import RecipeKeys
from boxwright.recipes.recipe import Recipe, base_recipe, key_types
from boxwright.text import did_you_mean
from boxwright.values import coerce, shown


def list_recipes() -> list[str]:
    """List the built-in recipes, one per detector, and those that installed packages add.

    Examples:
        >>> from boxwright.recipes import list_recipes
        >>> "lite320" in list_recipes()
        True
    """
    return sorted({*known_detectors(), *installed("recipe")})


def get_recipe(name_or_path: str | Path, **options: Unpack[RecipeKeys]) -> Recipe:
    """Get a recipe by name or from a file, with ``options`` on top.

    Args:
        name_or_path: A detector, your own one as ``module:SPEC``, a recipe that an installed package adds, or a YAML
            file, which starts from the recipe of the detector that its ``detector`` names.
        options: Keys of the recipe.

    Raises:
        RecipeError: For an unknown name, key or value, or a file that cannot be read.

    Examples:
        >>> bw.get_recipe("ssd300", box_loss="giou").box_loss
        'giou'
    """
    name = str(name_or_path)
    if Path(name).suffix in (".yaml", ".yml"):
        return _of_file(Path(name), options)
    # The names of packages are asked for last: all that is installed is looked through for them.
    if name in DETECTORS or find_part("detector", name)[0] or is_own("detector", name):
        return base_recipe(name).replace(**options)
    if (entry := find_part("recipe", name)[1]) is not None:
        return _of_package(name, entry).replace(**options)
    raise RecipeError(f"unknown recipe {shown(name)}{did_you_mean(name, list_recipes())}")


def _of_package(name: str, entry: Entry) -> Recipe:
    """Load what an entry point of the group ``boxwright.recipe`` names: a Recipe, or the path of a YAML file."""
    found = entry_object("recipe", name, entry)
    if isinstance(found, str | PathLike):
        return _of_file(Path(found), {})
    if not isinstance(found, Recipe):
        raise RecipeError(
            f"Expected recipe {name} of the package {entry.package} to be a Recipe or the path of a YAML file but got "
            f"{type(found).__name__}"
        )
    return found


def _of_file(path: Path, options: RecipeKeys) -> Recipe:
    values = read_yaml(path, "the recipe")
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: Expected recipe keys and values")
    base = values.get("detector", "lite320")
    if not isinstance(base, str):
        raise RecipeError(f"{path}: unknown detector {shown(base)}{did_you_mean(str(base), known_detectors())}")
    try:
        return base_recipe(base).replace(**{**values, **options})
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """Parse ``["lr=1e-3", "strides=[8, 16]"]`` into values by key, with the type of the recipe's key if it has one.

    Raises:
        RecipeError: If there is no ``=``, and for a value of another type or invalid YAML.
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
    """Read a YAML file as ``parse_yaml`` does.

    Raises:
        RecipeError: If it cannot be read; ``what`` describes the file in the message.
    """
    try:
        if path.exists() and not path.is_file():  # reading a FIFO or a device might never end
            raise RecipeError(f"can't read {what} {path}: it is no file")
        return parse_yaml(path.read_bytes())
    except YamlError as error:
        raise RecipeError(f"{path} is no valid YAML: {error}") from None
    except OSError as error:
        raise RecipeError(f"can't read {what} {path}: {error.strerror}") from None
