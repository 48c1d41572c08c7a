"""``boxwright export``: a run as a model file for other programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from boxwright._util.printing import say
from boxwright.cli.arguments import AllowCode, Overwrite, check_score, data_there, least_score, number, run_there
from boxwright.errors import RecipeError

_NEEDED = ("onnx", "onnxscript", "onnxruntime")
_NEEDED_FOR_OPENVINO = ("openvino", "nncf")


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


def _data_there(path: Path | None) -> Path | None:
    return None if path is None else data_there(path)


def _check_installed(extra: str, packages: Iterable[str]) -> None:
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise RecipeError(f"export needs {', '.join(missing)}: pip install 'boxwright[{extra}]'")


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", callback=run_there, help="A run folder.")],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="onnx|openvino",
            callback=_one_of("onnx", "openvino"),
            help="model.onnx, or openvino/ with model.xml and model.bin.",
        ),
    ] = "onnx",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", file_okay=False, help="Where to write that; default RUN.")
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
    int8: Annotated[
        Path | None,
        typer.Option(
            "--int8",
            metavar="DATA",
            callback=_data_there,
            help="The network computes in int8, in ranges of DATA's train images, and its AP is measured on val.",
        ),
    ] = None,
    max_loss: Annotated[
        float,
        typer.Option(
            "--max-loss",
            metavar="X",
            callback=number(0, 1),
            help="AP that int8 may lose: what costs most stays in float.",
        ),
    ] = 0.01,
    score: Annotated[
        str | None,
        typer.Option(
            metavar="S|precision=P|recall=R",
            callback=check_score,
            help="Give detections above this score, as in predict; default what predict goes by.",
        ),
    ] = None,
    verify: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Images, a folder or a glob to verify on; default the run's own."),
    ] = None,
    overwrite: Overwrite = False,
    allow_code: AllowCode = [],  # noqa: B006
) -> None:
    """A run as an ONNX or OpenVINO model, which is written once it gives the same scores, boxes and detections.

    Exit code 1 where it doesn't.
    """
    _check_installed("export", _NEEDED)
    if form == "openvino":
        _check_installed("openvino", _NEEDED_FOR_OPENVINO)

    from boxwright.export import Unfaithful, export_run
    from boxwright.runs.predict import find_images

    console = Console()
    try:
        exported = export_run(
            run,
            out,
            form=form,  # type: ignore[arg-type]
            nms=nms,  # type: ignore[arg-type]
            batch=None if batch == "dynamic" else int(batch),
            half=half,
            int8=int8,
            max_loss=max_loss,
            score=least_score(score),
            pictures=find_images([verify]) if verify else [],
            overwrite=overwrite,
            say=lambda text: say(console, text),
        )
    except Unfaithful as error:
        say(console, str(error), "red")
        raise typer.Exit(1) from None
    for line in chain(exported.agreement.lines(), exported.int8.lines() if exported.int8 else ()):
        say(console, line)
    say(console, f"the model is in {exported.file}")
