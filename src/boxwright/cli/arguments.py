"""Arguments that several commands share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from boxwright.errors import RecipeError

Data = Annotated[Path, typer.Argument(metavar="DATA", help="A data set in VOC, COCO or YOLO layout.")]
Settings = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Another value for a recipe key.")]


def check_settings(settings: Mapping[str, Any], flags: Iterable[str]) -> None:
    """Raise RecipeError for a ``--set`` of what is a flag of the command and no recipe key."""
    reserved = sorted(set(flags) & settings.keys())
    if reserved:
        raise RecipeError(f"{reserved[0]} is no recipe key: use --{reserved[0].replace('_', '-')}")
