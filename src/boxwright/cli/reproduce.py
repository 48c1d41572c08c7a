"""``boxwright reproduce``: options, and the table that it prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boxwright._util.printing import say, say_table
from boxwright.cli.arguments import Overwrite, number
from boxwright.cli.output import Output


def reproduce(
    names: Annotated[list[str], typer.Argument(metavar="NAME|all", help="Claims by their names, or all of them.")],
    size: Annotated[
        str, typer.Option(help="trial: whether all runs; small: an hour of one core; full: overnight.")
    ] = "small",
    out: Annotated[
        Path, typer.Option(metavar="DIR", file_okay=False, help="Where everything is kept; the same one goes on.")
    ] = Path("reproductions"),
    page: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write all that is known as Markdown.")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(callback=number(1, 4096), help="Processor threads of each training.", show_default="all cores"),
    ] = None,
    overwrite: Overwrite = False,
    *,
    output: Output,
) -> None:
    """Try what papers claim of losses, mining and NMS: each claim with seeds, an interval and a verdict.

    The same command goes on where it was stopped. Exit code 1: an experiment failed.
    """
    from boxwright._util.ownership import claim
    from boxwright.reproduce import reproduce as run_claims
    from boxwright.reproduce.page import write_page
    from boxwright.reproduce.reproduction import kept_outcomes

    if page is not None:
        claim(page, overwrite=overwrite)  # before hours of training
    outcomes = run_claims([] if "all" in names else names, size=size, out=out, threads=threads, console=output.notes)
    rows = []
    for outcome in outcomes:
        ends = "" if outcome.low is None else f"[{outcome.low:+.4f}, {outcome.high:+.4f}]"
        difference = "" if outcome.difference is None else f"{outcome.difference:+.4f}"
        rows.append((outcome.claim, difference, ends, str(outcome.seeds), outcome.verdict))
    say_table(output.results, ("claim", "difference", "95 % interval", "seeds", "verdict"), rows, left=(0, 4))
    if page is not None:
        write_page(page, kept_outcomes(out / size), size, overwrite=overwrite)
        say(output.results, f"the page is {page}")
    output.write_json(lambda: {"outcomes": outcomes, "page": page})
    if any(outcome.verdict == "failed" for outcome in outcomes):
        raise typer.Exit(1)
