"""``boxwright export``: a run as a model file for other programs."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from boxwright._util.printing import say
from boxwright.cli.arguments import AllowCode, Overwrite, check_score, least_score, run_there
from boxwright.errors import RecipeError

_NEEDED = ("onnx", "onnxscript", "onnxruntime")


def _one_of(*names: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text in names:
            return text
        raise typer.BadParameter(f"Expected {' or '.join(names)} but got {text}")

    return check


def _batch(text: str) -> str:
    if text == "dynamic" or (text.isdecimal() and 0 < int(text) < 10_000):
        return text
    raise typer.BadParameter(f"Expected dynamic or 1 to 9999 but got {text}")


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", callback=run_there, help="A run folder.")],
    form: Annotated[
        str, typer.Option("--format", metavar="onnx", callback=_one_of("onnx"), help="What to write: ONNX.")
    ] = "onnx",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", file_okay=False, help="Where to write model.onnx; default RUN.")
    ] = None,
    nms: Annotated[
        str,
        typer.Option(
            metavar="graph|runtime",
            callback=_one_of("graph", "runtime"),
            help="Whether the file gives detections, or scores and boxes of all anchors.",
        ),
    ] = "graph",
    batch: Annotated[
        str, typer.Option(metavar="dynamic|N", callback=_batch, help="Pictures at a time; dynamic: any number.")
    ] = "dynamic",
    half: Annotated[bool, typer.Option("--half", help="The network computes in float16.")] = False,
    score: Annotated[
        str | None,
        typer.Option(
            metavar="S|precision=P|recall=R",
            callback=check_score,
            help="Give detections above this score, as in predict; the default is predict's.",
        ),
    ] = None,
    verify: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Images, a folder or a glob to verify on; default the run's own."),
    ] = None,
    overwrite: Overwrite = False,
    allow_code: AllowCode = [],  # noqa: B006
) -> None:
    """A run as model.onnx, which is written once it gives the same scores, boxes and detections.

    Exit code 1 where it doesn't.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise RecipeError(f"export needs {', '.join(missing)}: pip install 'boxwright[export]'")

    from boxwright.export import Unfaithful, export_run
    from boxwright.runs.predict import find_images

    console = Console()
    try:
        exported = export_run(
            run,
            out,
            nms=nms,  # type: ignore[arg-type]
            batch=None if batch == "dynamic" else int(batch),
            half=half,
            score=least_score(score),
            pictures=find_images([verify]) if verify else [],
            overwrite=overwrite,
        )
    except Unfaithful as error:
        say(console, str(error), "red")
        raise typer.Exit(1) from None
    for line in exported.agreement.lines():
        say(console, line)
    say(console, f"the model is in {exported.file}")
