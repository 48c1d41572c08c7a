"""The output folder of a simulation: numbers, pictures, and a page that shows them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boxwright._util.ownership import GENERATOR, claim, is_marked, mark_new_folder
from boxwright._util.writing import write_bytes, write_json, write_text
from boxwright.environment import environment_line
from boxwright.report.curves import line_color, series_svg
from boxwright.report.markup import Markup, details, document, drawing, figures, section, table, text
from boxwright.simulate.cases import CASES_A_CENTER
from boxwright.simulate.experiment import GOOD_IOU, Regression, Simulation
from boxwright.simulate.paths import SHOWN, moving_svg, single_cases, still_svg
from boxwright.simulate.pictures import curves_png, map_png, maps_png, paths_png

_WAYS = {
    "iou": "No gradient where boxes don't overlap",
    "giou": "Stretches a box until it reaches its target, and is IoU once one box holds the other",
    "diou": "Draws the centers together, and leaves the sides to IoU",
    "ciou": "Draws the centers together, and the ratio of the sides",
    "eiou": "Draws the centers together, and each side to its own",
    "authors_iou": "The authors' own gradient of IoU",
    "authors_giou": "The authors' own gradient of GIoU, almost 0 beside and above the target",
    "authors_diou": "The authors' own gradient of DIoU, with a stronger pull than its derivative",
    "authors_ciou": "The authors' own gradient of CIoU, with a stronger pull than its derivative",
}


PAGE = "simulate.html"
_STYLE = "@media print { .moving { display: none; } }"
_SIGNED = ("curves.png", "maps.png", "paths.png", "simulation.json", PAGE)
_UNSIGNED = ("errors.csv", "final_errors.npz")  # these formats have no place for the program's name


def claim_folder(folder: Path, *, overwrite: bool = False) -> None:
    """Raise WriteError if ``write_simulation`` would replace files that boxwright did not write."""
    unsigned = () if is_marked(folder) else _UNSIGNED
    claim(*(folder / name for name in (*_SIGNED, *unsigned)), overwrite=overwrite)


def write_simulation(folder: Path, simulation: Simulation, *, overwrite: bool = False) -> Path:
    """Write simulation.json, errors.csv, final_errors.npz, curves.png, maps.png, paths.png and simulate.html.

    errors.csv has the sum of all errors after each step, one column per loss; final_errors.npz the centers (P, 2) and
    for each loss the mean final error (P,) of their cases.

    Returns:
        The page's path.

    Raises:
        WriteError: If a file cannot be written, or boxwright did not write it and ``overwrite`` is False.
    """
    claim_folder(folder, overwrite=overwrite)
    mark_new_folder(folder, "simulation")
    names = list(simulation.losses)
    ways = single_cases(names)
    pictures = {
        "curves.png": curves_png(simulation),
        "maps.png": maps_png(simulation),
        "paths.png": paths_png(names, ways),
    }
    for name, data in pictures.items():
        write_bytes(folder / name, data)
    write_json(folder / "simulation.json", {"generator": GENERATOR, **_json(simulation)}, indent=1)
    write_text(folder / "errors.csv", _csv(simulation))
    write_bytes(folder / "final_errors.npz", _npz(simulation))
    write_text(folder / PAGE, _page(simulation, ways))
    return folder / PAGE


def _json(simulation: Simulation) -> dict[str, Any]:
    """Return everything but the maps as plain values."""
    return {
        "centers": len(simulation.centers),
        "cases": simulation.cases,
        "losses": {
            name: {
                "error": found.error.tolist(),
                **{f"error_{axis}": column.tolist() for axis, column in zip("xywh", found.errors.T, strict=True)},
                "iou": found.iou.tolist(),
                "good": found.good,
                "disjoint": found.disjoint,
                "floored": found.floored,
                "seconds": round(found.seconds, 1),
            }
            for name, found in simulation.losses.items()
        },
    }


def _csv(simulation: Simulation) -> str:
    """List the step and the sum of errors of each loss."""
    curves = np.stack([found.error for found in simulation.losses.values()], axis=1)
    buffer = io.StringIO(newline="")
    rows = csv.writer(buffer)
    rows.writerow(["step", *simulation.losses])
    rows.writerows([step, *row] for step, row in enumerate(curves.tolist()))
    return buffer.getvalue()


def _npz(simulation: Simulation) -> bytes:
    """Pack the centers and the mean final error there under each loss."""
    arrays: dict[str, Any] = {name: found.final for name, found in simulation.losses.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, centers=simulation.centers, **arrays)
    return buffer.getvalue()


def sentence(name: str, found: Regression, cases: int) -> str:
    """Describe in a sentence what the measured numbers say about a loss."""
    mean = found.error / cases
    below = np.flatnonzero(mean <= mean[0] / 2)
    half = f"halved by step {below[0]}" if len(below) else "never halved"
    way = f"{_WAYS[name]}: the" if name in _WAYS else "The"
    apart = f", {found.disjoint:.0%} end without touching their target" if found.disjoint >= 0.005 else ""
    center = found.errors[-1, :2].sum() / found.error[-1]
    where = ((0.6, "mostly in the place"), (0.4, "in place and sides alike"), (0.0, "mostly in the sides"))
    rest = next(words for least, words in where if center >= least)
    return (
        f"{way} mean error goes from {mean[0]:.2g} to {mean[-1]:.2g}, {half}; {found.good:.1%} of the boxes end at IoU "
        f"{GOOD_IOU} or better{apart}; what is left is {rest}."
    )


def _page(simulation: Simulation, ways: NDArray[np.float64]) -> str:
    losses = simulation.losses
    summary = (
        f"<p>{simulation.cases:,} boxes ({len(simulation.centers):,} places x {CASES_A_CENTER} shapes of anchor and "
        "target) go straight down each loss, without a network: the experiment of the DIoU paper. "
        "The error of a box is |dx| + |dy| + |dw| + |dh|, in sides of a square target.</p>"
    )
    said = "".join(
        f"<li><b>{text(name)}</b>: {text(sentence(name, found, simulation.cases))}</li>"
        for name, found in losses.items()
    )
    sections = (
        section("What each loss does", f"<ul>{said}</ul>", _table(simulation)),
        section("On the way", _curves(simulation)),
        section("Where errors are left", _maps(simulation)),
        section("Single boxes", _paths(list(losses), ways)),
        section(
            "What may be concluded",
            "<p>How the gradients of a loss move one box that is free to go, under these steps. Not which loss trains "
            "the better detector: there, boxes are moved by shared weights, most start close to their target, and the "
            "loss of boxes is one of several. A loss on a larger scale also takes larger steps here.</p>",
        ),
    )
    return document("Boxes going down a loss", summary, sections, environment_line(), _STYLE)


def _table(simulation: Simulation) -> Markup:
    rows = []
    for name, found in simulation.losses.items():
        mean = found.error / simulation.cases
        early = [f"{mean[step]:.3f}" if step < len(mean) else None for step in (20, 40, 80)]
        shares = (f"{share:.1%}" for share in (found.good, found.disjoint))
        rows.append((name, *early, f"{mean[-1]:.4f}", f"{found.iou[-1]:.3f}", *shares))
    head = ("loss", "step 20", "40", "80", "end", "IoU", f"IoU {GOOD_IOU} up", "disjoint")
    caption = "Mean error on the way and at the end; mean IoU, and shares of the boxes, at the end."
    return Markup(f'<p class="dim">{caption}</p>{table(head, rows, "tnnnnnnn")}')


def _curves(simulation: Simulation) -> Markup:
    steps = [float(step) for step in range(len(next(iter(simulation.losses.values())).iou))]
    errors = {name: (steps, (found.error / simulation.cases).tolist()) for name, found in simulation.losses.items()}
    overlaps = {name: (steps, found.iou.tolist()) for name, found in simulation.losses.items()}
    plots = (
        ("Mean error", series_svg(errors, "step", "mean error", log=True)),
        ("Mean IoU", series_svg(overlaps, "step", "mean IoU")),
    )
    return figures(plots)


def _maps(simulation: Simulation) -> Markup:
    maps = figures(
        (name, drawing(map_png(simulation, found), f"{name}: error left over the place where a box starts"))
        for name, found in simulation.losses.items()
    )
    return Markup(
        '<p class="dim">Each point is a place where anchors start; its color is the mean error that they end with. '
        f"The target is in the middle.</p>{maps}"
    )


def _paths(names: Sequence[str], ways: NDArray[np.float64]) -> Markup:
    """Draw the single cases (L, 201, 3, 4) of the losses, still and moving."""
    steps = f"at steps {', '.join(map(str, SHOWN[:-1]))} and {SHOWN[-1]}"
    still, moving = (
        figures([(name, draw(way, line_color(row))) for row, (name, way) in enumerate(zip(names, ways, strict=True))])
        for draw in (still_svg, moving_svg)
    )
    return Markup(
        f'<p class="dim">An anchor of 1.41 x 0.71 beside its target of 1 x 1 (gray), {steps}, paler the earlier. Axes '
        f"as in the maps: x to the right, y down, in sides of a square target.</p>{still}"
        f'<div class="moving">{details("Play it", moving)}</div>'
    )
