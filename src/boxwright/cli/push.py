"""``boxwright push``: a run on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boxwright._util.printing import say
from boxwright.cli.arguments import AllowCode, Overwrite, run_there
from boxwright.cli.completion import complete_run
from boxwright.cli.output import Output
from boxwright.errors import RecipeError


def push(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", callback=run_there, autocompletion=complete_run, help="A run folder.")
    ],
    to: Annotated[str, typer.Argument(metavar="hf://USER/NAME", help="The repository, which is made if need be.")],
    private: Annotated[bool, typer.Option("--private", help="Make a private repository.")] = False,
    license: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The model's license, as the Hub names it: apache-2.0, cc-by-4.0 ..."),
    ] = None,
    overwrite: Overwrite = False,
    allow_code: AllowCode = [],  # noqa: B006
    *,
    output: Output,
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

    pushed = push_run(Run(run), address, private=private, license=license, overwrite=overwrite)
    if not pushed.measured:
        say(output.notes, f"the card has no AP: boxwright eval {run} DATA measures it, then push again", "yellow")
    say(output.results, f"pushed {', '.join(pushed.files)}")
    say(output.results, f"the model is at {pushed.url}: boxwright predict {address} photo.jpg")
    output.write_json(lambda: {"url": pushed.url, "files": pushed.files, "measured": pushed.measured})
