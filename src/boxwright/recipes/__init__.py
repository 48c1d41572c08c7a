"""Recipes: named, complete configurations of detector, supervision and training.

A recipe is a frozen dataclass with flat keys. It is read from YAML, changed with ``replace`` or ``--set key=value``,
and written into every run folder. An unknown key is an error that names the nearest one.
"""

from boxwright.recipes.builtin import RECIPES
from boxwright.recipes.reading import get_recipe, list_recipes, parse_settings, read_yaml
from boxwright.recipes.recipe import FOREIGN_KEYS, Recipe

__all__ = ["FOREIGN_KEYS", "RECIPES", "Recipe", "get_recipe", "list_recipes", "parse_settings", "read_yaml"]
