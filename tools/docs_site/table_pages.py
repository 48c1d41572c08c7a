"""The pages of recipes, their keys and the parts, made from the code."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from typing import Any

from api_pages import page_of
from boxwright._util.yaml_files import format_yaml
from boxwright.catalog import PART_KEYS, Entry, built_in
from boxwright.choices import resolve_choice
from boxwright.recipes import Recipe, base_recipe, find_detector, known_detectors
from boxwright.text import first_sentence
from cells import code, prose, table

DEFAULT = "lite320"


def table_pages() -> dict[str, str]:
    """Return the pages by their paths in the site."""
    return {
        "reference/recipes.md": recipes_page(),
        "reference/recipe-keys.md": keys_page(),
        "reference/parts.md": parts_page(),
    }


def recipes_page() -> str:
    """Write what each built-in recipe chooses, key by key where it isn't as in ``DEFAULT``."""
    parts = ["# Recipes", f"The built-in recipes. `boxwright recipe show {DEFAULT}` prints one whole."]
    for name in sorted(known_detectors(), key=lambda each: each != DEFAULT):
        values, base = base_recipe(name).to_dict(), base_recipe(DEFAULT).to_dict()
        foreign = find_detector(name).foreign_keys
        known = [key for key in values if key not in (*foreign, "detector")]
        shown = [key for key in known if name == DEFAULT or values[key] != base[key]]
        what = "Its choices:" if name == DEFAULT else f"What differs from `{DEFAULT}`:"
        rows = [(code(key), code(format_yaml(values[key]))) for key in shown]
        parts += [f"## {name}", what, table(("key", "value"), rows)]
    return "\n\n".join(parts)


def keys_page() -> str:
    """Write every key of a recipe with its meaning and the value in ``DEFAULT``."""
    recipe = base_recipe(DEFAULT)
    notes, values = recipe.notes(), recipe.to_dict()
    rows = [(code(item.name), code(format_yaml(values[item.name])), prose(notes[item.name])) for item in fields(Recipe)]
    about = "Keys whose values name a part have their choices under [Parts](parts.md)."
    return f"# Recipe keys\n\n{about}\n\n{table(('key', f'in {DEFAULT}', 'meaning'), rows)}"


def parts_page() -> str:
    """Write every part that a recipe can name, by the key that names it."""
    sections = ["# Parts", "What a recipe can name. `boxwright parts NAME` prints all of one."]
    for key in PART_KEYS:
        rows = [(code(name), *_part(key, name, entry)) for name, entry in built_in(key).items()]
        sections += [f"## {key}", table(("name", "options and defaults", "what it is"), rows)]
    return "\n\n".join(sections)


def _part(key: str, name: str, entry: Entry | None) -> tuple[str, str]:
    """The options of a part, and a sentence that leads to its documentation."""
    if entry is None:
        return "", ""
    part = resolve_choice(key, name)
    assert isinstance(part, partial)
    options = ", ".join(code(option) for option in _options(part, entry))
    sentence, page = prose(first_sentence(inspect.getdoc(part.func))), page_of(entry.module, entry.attribute)
    return options, f"{sentence} [{entry.attribute}]({page})" if page else sentence


def _options(part: partial[Any], entry: Entry) -> Iterator[str]:
    parameters = inspect.signature(part.func).parameters
    for option in entry.options or ():
        value = parameters[option].default
        yield f"{option}={format_yaml(list(value) if isinstance(value, tuple) else value)}"
