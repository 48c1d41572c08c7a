"""The regression experiment on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boxwright._util.printing import say, say_table
from boxwright._util.progress import bar
from boxwright.cli.arguments import Overwrite, number
from boxwright.cli.completion import complete_losses
from boxwright.cli.output import Output


def simulate(
    losses: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C",
            autocompletion=complete_losses,
            help="Box losses as recipes name them, and authors_iou, authors_giou, authors_diou, authors_ciou.",
            show_default="iou,giou,diou,ciou,eiou",
        ),
    ] = None,
    centers: Annotated[
        int, typer.Option(callback=number(1, 10**6), help="Places where anchors start; fewer are quicker.")
    ] = 5000,
    out: Annotated[Path, typer.Option(metavar="DIR", file_okay=False, help="Where to write everything.")] = Path(
        "boxwright-simulation"
    ),
    overwrite: Overwrite = False,
    *,
    output: Output,
) -> None:
    """Simulate how boxes descend each loss, as in the DIoU paper: curves, maps, an animation and a page."""
    from boxwright.choices import parse_choice, split_choices

    for name in split_choices(losses or ""):
        if not name.startswith("authors_"):
            parse_choice("box_loss", name)  # before torch is imported

    from boxwright.simulate import LOSSES
    from boxwright.simulate import simulate as run_simulation
    from boxwright.simulate.page import claim_folder, write_simulation

    claim_folder(out, overwrite=overwrite)
    chosen = LOSSES if losses is None else split_choices(losses)
    with bar("simulating", output.notes) as advance:
        simulation = run_simulation(chosen, centers=centers, advance=advance)
    page = write_simulation(out, simulation, overwrite=overwrite)
    rows = []
    for name, found in simulation.losses.items():
        mean = found.error / simulation.cases
        cells = (f"{mean[40]:.3f}", f"{mean[-1]:.4f}", f"{found.iou[-1]:.3f}", f"{found.good:.1%}")
        rows.append((name, *cells, f"{found.seconds:.0f}"))
    header = ("loss", "step 40", "end", "IoU", "IoU .9 or better", "seconds")
    say_table(output.results, header, rows, title="mean |dx| + |dy| + |dw| + |dh|")
    say(output.results, f"the page is {page}")
    output.write_json(
        lambda: {
            "page": page,
            "losses": {
                name: {
                    "error": found.error / simulation.cases,
                    "iou": found.iou[-1],
                    "good": found.good,
                    "seconds": found.seconds,
                }
                for name, found in simulation.losses.items()
            },
        }
    )
