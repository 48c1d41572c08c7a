"""``boxwright recipe``: the built-in recipes, and every key of one."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from boxwright._util.printing import say
from boxwright.cli.arguments import Settings, typed_settings
from boxwright.text import plural

if TYPE_CHECKING:
    from boxwright.recipes import Recipe


def list_names() -> None:
    """List the built-in recipes."""
    from boxwright.recipes import list_recipes

    console = Console()
    for name in list_recipes():
        say(console, name)


def show(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE")],
    settings: Settings = [],  # noqa: B006
    sizes: Annotated[
        bool, typer.Option("--sizes", help="Also the network's parameters, multiply-adds and anchors; takes seconds.")
    ] = False,
) -> None:
    """Print every key of a recipe with its value, where that came from, and what it means."""
    from boxwright.recipes import get_recipe

    options = typed_settings(settings, name)
    recipe, console = get_recipe(name, **options), Console()
    render_recipe(recipe, name, set(options), console)
    if sizes:
        render_size(recipe, console)


def render_recipe(recipe: Recipe, name: str, changed: set[str], console: Console) -> None:
    """Lines of YAML with the meaning as a comment, so that the output is a recipe file itself."""
    import yaml

    from boxwright.recipes import base_recipe, find_detector

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
    """Print the network's size as a comment."""
    from boxwright.models.size import network_size

    size = network_size(recipe)
    say(
        console,
        f"# network: {size.parameters / 1e6:.1f} M parameters, {size.learning / 1e6:.1f} M of them trained; "
        f"{size.multiply_adds / 1e9:.2f} G multiply-adds for an image of {recipe.image_size} x {recipe.image_size}; "
        f"{plural(size.anchors, 'anchor')}; with {plural(size.classes, 'class')}",
    )
