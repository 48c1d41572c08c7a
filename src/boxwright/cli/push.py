"""``boxwright push``: a run on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from boxwright._util.printing import say
from boxwright.cli.arguments import AllowCode, Overwrite, run_there
from boxwright.errors import RecipeError


def push(
    run: Annotated[Path, typer.Argument(metavar="RUN", callback=run_there, help="A run folder.")],
    to: Annotated[str, typer.Argument(metavar="hf://USER/NAME", help="The repository, which is made if need be.")],
    private: Annotated[bool, typer.Option("--private", help="Make a private repository.")] = False,
    license: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The model's license, as the Hub names it: apache-2.0, cc-by-4.0 ..."),
    ] = None,
    overwrite: Overwrite = False,
    allow_code: AllowCode = [],  # noqa: B006
) -> None:
    """Put a run's recipe, weights and thresholds on the Hugging Face Hub, with a card that says what it is."""
    from boxwright.runs.hub import hub_address

    address = hub_address(to)
    if address is None:
        raise RecipeError(f"Expected hf://USER/NAME but got {to}")
    if not run.is_dir():
        raise RecipeError(f"{run} is no run folder")

    from boxwright.runs import Run
    from boxwright.runs.pushing import push_run

    console = Console()
    pushed = push_run(Run(run), address, private=private, license=license, overwrite=overwrite)
    if not pushed.measured:
        say(console, f"the card has no AP: boxwright eval {run} DATA measures it, then push again", "yellow")
    say(console, f"pushed {', '.join(pushed.files)}")
    say(console, f"the model is at {pushed.url}: boxwright predict {address} photo.jpg")
