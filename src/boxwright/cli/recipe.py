"""``boxwright recipe``: the built-in recipes, and every key of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from boxwright._util.printing import say
from boxwright.cli.arguments import Settings, typed_settings
from boxwright.cli.completion import complete_recipe
from boxwright.cli.output import Output
from boxwright.text import plural

if TYPE_CHECKING:
    from boxwright.models.size import NetworkSize
    from boxwright.recipes import Recipe


def list_names(*, output: Output) -> None:
    """List the built-in recipes."""
    from boxwright.recipes import list_recipes

    names = list_recipes()
    for name in names:
        say(output.results, name)
    output.write_json(lambda: {"recipes": names})


def show(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE", autocompletion=complete_recipe)],
    settings: Settings = [],  # noqa: B006
    sizes: Annotated[
        bool, typer.Option("--sizes", help="Also the network's parameters, multiply-adds and anchors; takes seconds.")
    ] = False,
    *,
    output: Output,
) -> None:
    """Print every key of a recipe with its value, where that came from, and what it means."""
    from boxwright.recipes import get_recipe

    options = typed_settings(settings, name)
    recipe = get_recipe(name, **options)
    origins = _origins(recipe, name, set(options))
    render_recipe(recipe, origins, output.results)
    size = None
    if sizes:
        from boxwright.models.size import network_size

        size = network_size(recipe)
        render_size(recipe, size, output.results)
    values, notes = recipe.to_dict(), recipe.notes()
    keys = {key: {"value": values[key], "origin": origin, "meaning": notes[key]} for key, origin in origins.items()}
    output.write_json(lambda: {"keys": keys, "size": size})


def _origins(recipe: Recipe, name: str, changed: set[str]) -> dict[str, str]:
    """Return where the value of each of the detector's keys comes from."""
    from boxwright.recipes import base_recipe, find_detector

    values, base = recipe.to_dict(), base_recipe(recipe.detector).to_dict()
    keys = (item.name for item in fields(recipe) if item.name not in find_detector(recipe.detector).foreign_keys)
    return {key: "--set" if key in changed else name if values[key] != base[key] else recipe.detector for key in keys}


def render_recipe(recipe: Recipe, origins: Mapping[str, str], console: Console) -> None:
    """Print lines of YAML with the meaning as a comment, so that the output is a recipe file itself."""
    import yaml

    notes, values = recipe.notes(), recipe.to_dict()
    for key, origin in origins.items():
        text = yaml.safe_dump(values[key], default_flow_style=True).replace("\n...", "").strip()
        say(console, f"{key}: {text:<{max(34 - len(key), 1)}}  # [{origin}] {notes[key]}")


def render_size(recipe: Recipe, size: NetworkSize, console: Console) -> None:
    """Print the network's size as a comment."""
    say(
        console,
        f"# network: {size.parameters / 1e6:.1f} M parameters, {size.learning / 1e6:.1f} M of them trained; "
        f"{size.multiply_adds / 1e9:.2f} G multiply-adds for an image of {recipe.image_size} x {recipe.image_size}; "
        f"{plural(size.anchors, 'anchor')}; with {plural(size.classes, 'class')}",
    )
