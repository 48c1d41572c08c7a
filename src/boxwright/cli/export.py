"""``boxwright export``: a run as a model file for other programs."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from boxwright._util.printing import say
from boxwright.cli.arguments import AllowCode, Overwrite, check_score, data_there, min_score, number, run_there
from boxwright.cli.completion import complete_run
from boxwright.cli.output import Output
from boxwright.errors import DataError, RecipeError

_ONNX = ("onnx", "onnxscript", "onnxruntime")
_NEEDED = {"onnx": _ONNX, "openvino": (*_ONNX, "openvino", "nncf"), "torch": ()}


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


def export(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", callback=run_there, autocompletion=complete_run, help="A run folder.")
    ],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="onnx|openvino|torch",
            callback=_one_of("onnx", "openvino", "torch"),
            help="model.onnx, OpenVINO's openvino/model.xml, or torch.export's model.pt2.",
        ),
    ] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", file_okay=False, help="Where to write it; default RUN, RUN/int8 for int8."),
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
    half: Annotated[bool, typer.Option("--half", help="Compute the network in float16.")] = False,
    int8: Annotated[
        Path | None,
        typer.Option(
            "--int8",
            metavar="DATA",
            callback=_data_there,
            help="The network computes in int8, in ranges of DATA's train images; AP is measured on val.",
        ),
    ] = None,
    max_loss: Annotated[
        float,
        typer.Option(
            "--max-loss",
            metavar="X",
            callback=number(0, 1),
            help="AP that int8 may lose: what costs most stays float.",
        ),
    ] = 0.01,
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
        typer.Option(
            metavar="DATA",
            help="A data set, whose AP is measured too, or images, a folder or a glob to verify on; default the run's "
            "own validation images.",
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the data set to verify on.")] = "val",
    overwrite: Overwrite = False,
    allow_code: AllowCode = [],  # noqa: B006
    *,
    output: Output,
) -> None:
    """Write a run as a model file, once it is verified to give the same scores, boxes and detections.

    Exit code 1 if it gives others.
    """
    missing = [name for name in _NEEDED[form] if find_spec(name) is None]
    if missing:
        extra = "openvino" if form == "openvino" else "export"
        raise RecipeError(f"export needs {', '.join(missing)}: pip install 'boxwright[{extra}]'")

    from boxwright.export import Unfaithful, export_run

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
            score=min_score(score),
            **_tried_on(verify, split),
            overwrite=overwrite,
            say=lambda text: say(output.notes, text),
        )
    except Unfaithful as error:
        fault = str(error)
        say(output.results, fault, "red")
        output.write_json(lambda: {"file": None, "fault": fault})
        raise typer.Exit(1) from None
    for line in exported.agreement.lines():
        say(output.results, line)
    if exported.precision is not None:
        say(output.results, exported.precision.line())
    for line in exported.int8.lines() if exported.int8 else ():
        say(output.results, line)
    say(output.results, f"the model is in {exported.file}")
    output.write_json(
        lambda: {
            "file": exported.file,
            "fault": None,
            "agreement": exported.agreement,
            "precision": exported.precision,
            "int8": exported.int8 and exported.int8.to_json(),
        }
    )


def _tried_on(verify: str | None, split: str) -> dict[str, Any]:
    """Return the options that say what to verify on: a folder with annotations is a data set."""
    from boxwright.data.layout import open_layout
    from boxwright.runs.predict import find_images

    if verify is None:
        return {}
    try:
        open_layout(verify)
    except DataError:
        return {"pictures": find_images([verify])}
    return {"data": verify, "split": split}
