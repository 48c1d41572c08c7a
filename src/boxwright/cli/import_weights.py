"""``boxwright import``: other libraries' weights as runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boxwright._util.printing import say
from boxwright.cli.arguments import Classes, Overwrite, data_options
from boxwright.cli.output import Output


def import_torchvision(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="ssd300_vgg16, retinanet_resnet50_fpn, fcos_resnet50_fpn or fasterrcnn_resnet50_fpn."
        ),
    ],
    weights: Annotated[
        Path | None,
        typer.Argument(
            metavar="WEIGHTS.pth", help="A state_dict of your own; none: torchvision's published one is fetched."
        ),
    ] = None,
    classes: Classes = None,
    out: Annotated[
        Path | None, typer.Option(metavar="RUN", file_okay=False, help="The run folder to make; default runs/NAME.")
    ] = None,
    overwrite: Overwrite = False,
    *,
    output: Output,
) -> None:
    """Make a run folder from torchvision's weights. A model of COCO's 91 ids gets COCO's names."""
    from boxwright.runs.importing import import_weights

    names = data_options([], classes)["classes"] or ()
    run = import_weights(name, weights, out or Path("runs") / name, names, overwrite=overwrite)
    say(output.results, f"the model is in {run.model_file}")
    output.write_json(lambda: {"run": run.folder, "model": run.model_file})
