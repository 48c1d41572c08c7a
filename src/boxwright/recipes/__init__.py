"""Recipes: named, complete configurations of detector, supervision and training.

A recipe is a frozen dataclass with flat keys. It is read from YAML, changed with ``replace`` or ``--set key=value``,
and written into every run folder. An unknown key is an error that names the nearest one.
"""

from boxwright.recipes.builtin import find_detector, known_detectors
from boxwright.recipes.keys import RecipeKeys
from boxwright.recipes.reading import get_recipe, list_recipes, parse_settings, read_yaml
from boxwright.recipes.recipe import Recipe, base_recipe
from boxwright.recipes.spec import DetectorSpec

__all__ = [
    "DetectorSpec",
    "Recipe",
    "RecipeKeys",
    "base_recipe",
    "find_detector",
    "get_recipe",
    "known_detectors",
    "list_recipes",
    "parse_settings",
    "read_yaml",
]
