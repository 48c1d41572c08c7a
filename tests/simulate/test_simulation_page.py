"""What a simulation leaves behind: files that can be read back, and a page that needs nothing else."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from boxwright.boxes import box_iou
from boxwright.cli.app import app
from boxwright.errors import RecipeError, WriteError
from boxwright.simulate import Simulation, simulate
from boxwright.simulate.page import claim_folder, sentence, write_simulation
from boxwright.simulate.paths import LAYOUTS, SHOWN, WINDOW, moving_svg, overlaps, single_cases, still_svg

NAMES = ["iou", "eiou", "authors_giou", "alpha_iou:alpha=3,kind=giou"]


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(NAMES, centers=3)


@pytest.fixture(scope="module")
def folder(simulation: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulation") / "new" / "folder"
    assert write_simulation(out, simulation) == out / "simulate.html"
    return out


def test_numbers_can_be_read_back(simulation: Simulation, folder: Path) -> None:
    with (folder / "errors.csv").open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    assert head == ["step", *NAMES]
    assert [int(row[0]) for row in rows] == list(range(201))
    content = json.loads((folder / "simulation.json").read_text())
    assert (content["centers"], content["cases"]) == (3, 1029)
    maps = np.load(folder / "final_errors.npz")
    np.testing.assert_array_equal(maps["centers"], simulation.centers)
    for place, (name, found) in enumerate(simulation.losses.items()):
        np.testing.assert_array_equal([float(row[place + 1]) for row in rows], found.error)
        kept = content["losses"][name]
        np.testing.assert_allclose(np.sum([kept[f"error_{axis}"] for axis in "xywh"], axis=0), kept["error"])
        assert kept["iou"] == found.iou.tolist()
        np.testing.assert_array_equal(maps[name], found.final)


def test_what_it_wrote_may_be_written_again(folder: Path, tmp_path: Path) -> None:
    claim_folder(folder)
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / ".boxwright").unlink()  # as in a folder that had held something before
    with pytest.raises(WriteError, match=r"errors\.csv is there"):
        claim_folder(copy)
    (copy / "errors.csv").unlink()
    (copy / "final_errors.npz").unlink()
    claim_folder(copy)
    (folder / "maps.png").replace(copy / "maps.png")
    (folder / "maps.png").write_bytes(b"mine")
    with pytest.raises(WriteError, match=r"maps\.png is there"):
        claim_folder(folder)
    (copy / "maps.png").replace(folder / "maps.png")


def test_pictures_open(folder: Path) -> None:
    for name in ("curves.png", "maps.png", "paths.png"):
        with Image.open(folder / name) as picture:
            picture.verify()


def test_single_cases_end_where_the_loss_leads() -> None:
    """Under IoU a disjoint box keeps its place; under EIoU it lies on its target at the end."""
    ways = single_cases(["iou", "eiou"])
    assert ways.shape == (2, 201, len(LAYOUTS), 4)
    np.testing.assert_array_equal(ways[0, 0], ways[0, -1])
    np.testing.assert_allclose(ways[1, -1], [(10, 10, 1, 1)] * 3, atol=0.01)


def test_overlaps_are_the_iou_with_the_target() -> None:
    way = single_cases(["giou"])[0, :, 0]
    corners = torch.from_numpy(np.concatenate([way[:, :2] - way[:, 2:] / 2, way[:, :2] + way[:, 2:] / 2], axis=1))
    wanted = box_iou(corners, torch.tensor([[9.5, 9.5, 10.5, 10.5]], dtype=torch.float64))
    np.testing.assert_allclose(overlaps(way), wanted[:, 0], atol=1e-9)


def test_a_drawing_has_the_boxes_of_its_steps_and_says_when_they_arrive() -> None:
    ways = single_cases(["iou", "eiou"])
    drawn = ElementTree.fromstring(still_svg(ways[1], "#0072b2"))
    outlines = [r for r in drawn.iter("rect") if r.get("stroke") == "#0072b2"]
    assert len(outlines) == 3 * len(SHOWN)
    side = (346 - 20 - 2 * 8) / 3 / (WINDOW[1] - WINDOW[0])  # of a unit, in a panel
    corner = (9.5 - WINDOW[0]) * side
    place = {name: float(outlines[len(SHOWN) - 1].get(name, "nan")) for name in ("x", "y", "width", "height")}
    assert place == pytest.approx({"x": corner, "y": corner, "width": side, "height": side}, abs=0.5)
    texts = [element.text or "" for element in drawn.iter("text")]
    first = int(np.flatnonzero(overlaps(ways[1, :, 0]) >= 0.5)[0])
    assert f"IoU .5 by step {first}" in texts
    assert texts.count("ends at IoU 1.00") == 3
    assert "never at IoU .5" in still_svg(ways[0], "#0072b2")


def test_the_moving_drawing_begins_and_ends_where_the_boxes_do() -> None:
    ways = single_cases(["eiou"])[0]
    moved = ElementTree.fromstring(moving_svg(ways, "#0072b2"))
    still = ElementTree.fromstring(still_svg(ways, "#0072b2"))
    paths = [r for r in moved.iter("rect") if r.get("stroke") == "#0072b2"]
    places = [r for r in still.iter("rect") if r.get("stroke") == "#0072b2"]
    assert len(paths) == 3
    for layout, rectangle in enumerate(paths):
        turns = {turn.get("attributeName"): turn for turn in rectangle.iter("animate")}
        for name in ("x", "y", "width", "height"):
            values = (turns[name].get("values") or "").split(";")
            times = [float(time) for time in (turns[name].get("keyTimes") or "").split(";")]
            assert values[0] == places[layout * len(SHOWN)].get(name)
            assert values[-2] == values[-1] == places[(layout + 1) * len(SHOWN) - 1].get(name)
            assert len(times) == len(values)
            assert times == sorted(times)
            assert (times[0], times[-1]) == (0, 1)


def test_the_page_loads_nothing_and_says_a_sentence_of_each_loss(simulation: Simulation, folder: Path) -> None:
    page = (folder / "simulate.html").read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    assert "<script" not in page
    assert page.count("data:image/") == len(NAMES)
    assert page.count("ends at IoU") == 2 * 3 * len(NAMES)
    for name, found in simulation.losses.items():
        assert f"<li><b>{name}</b>: {sentence(name, found, simulation.cases)}</li>".replace("'", "&#x27;") in page


def test_the_sentence_says_what_was_measured(simulation: Simulation) -> None:
    iou, eiou = (sentence(name, simulation.losses[name], simulation.cases) for name in ("iou", "eiou"))
    assert "never halved" in iou
    assert f"{simulation.losses['iou'].disjoint:.0%} end without touching" in iou
    assert iou.endswith("what is left is mostly in the place.")
    assert "touching" not in eiou
    assert "100.0% of the boxes end at IoU 0.9 or better" in eiou


def test_the_command(tmp_path: Path) -> None:
    arguments = ["simulate", "--centers", "1", "--losses", "alpha_iou:alpha=2,kind=giou, iou", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert str(tmp_path / "simulate.html") in result.output
    assert list(json.loads((tmp_path / "simulation.json").read_text())["losses"]) == [
        "alpha_iou:alpha=2,kind=giou",
        "iou",
    ]


def test_the_command_refuses_before_it_computes(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["simulate", "--losses", "iou,smooth_l1", "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, RecipeError)
    assert not (tmp_path / "out").exists()
