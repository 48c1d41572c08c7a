"""The table that ``boxwright recipe show`` prints."""

from __future__ import annotations

from dataclasses import fields

import yaml
from rich.console import Console

from boxwright._util.printing import say
from boxwright.recipes import Recipe, base_recipe, find_detector
from boxwright.text import plural


def render_recipe(recipe: Recipe, name: str, changed: set[str], console: Console) -> None:
    """Lines of YAML with the meaning as a comment, so that the output is a recipe file itself."""
    notes, values = recipe.notes(), recipe.to_dict()
    base = base_recipe(recipe.detector).to_dict()
    foreign = find_detector(recipe.detector).foreign_keys
    for item in fields(recipe):
        if item.name in foreign:
            continue
        value = values[item.name]
        text = yaml.safe_dump(value, default_flow_style=True).replace("\n...", "").strip()
        origin = "--set" if item.name in changed else name if value != base[item.name] else recipe.detector
        say(console, f"{item.name}: {text:<{max(34 - len(item.name), 1)}}  # [{origin}] {notes[item.name]}")


def render_size(recipe: Recipe, console: Console) -> None:
    """The network's size, as a comment."""
    from boxwright.models.size import network_size

    size = network_size(recipe)
    say(
        console,
        f"# network: {size.parameters / 1e6:.1f} M parameters, {size.learning / 1e6:.1f} M of them trained; "
        f"{size.multiply_adds / 1e9:.2f} G multiply-adds for an image of {recipe.image_size} x {recipe.image_size}; "
        f"{plural(size.anchors, 'anchor')}; with {plural(size.classes, 'class')}",
    )
