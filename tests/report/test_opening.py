"""What stands first on a report: the sentence, the numbers, and a row of small pictures."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from boxwright.report import Picture, ReportData
from boxwright.report.opening import opening
from html_tree import Tree

GREY = np.full((300, 400, 3), 128, np.uint8)
BLUE, VERMILION = (0, 114, 178), (213, 94, 0)


def drawn(page: str) -> list[Image.Image]:
    codes = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', page)
    return [Image.open(io.BytesIO(base64.b64decode(code))) for code in codes]


def picture(image: np.ndarray = GREY, **given: object) -> Picture:
    """A right box, a false one, one that is neither, and a missed object."""
    boxes = [[20, 20, 100, 100], [150, 20, 230, 100], [280, 20, 360, 100]]
    masks = {"right": [True, False, False], "false": [False, True, False], "missed": [[20, 180, 100, 260]], **given}
    return Picture("a.jpg", image, boxes, [0, 1, 0], [0.9, 0.8, 0.7], [], [], **masks)


def test_right_false_and_missed_are_told_apart() -> None:
    page = opening(ReportData("t", ["cat", "dog"], opening=[picture()]))
    assert "1 found, 1 false, 1 missed" in Tree(page).text
    pixels = np.asarray(drawn(page)[0].convert("RGB")).astype(int)

    def near(x: int, y: int, color: tuple[int, int, int]) -> bool:
        return bool(np.abs(pixels[y - 1 : y + 2, x - 1 : x + 2] - color).sum(2).min() < 60)

    assert near(99, 60, BLUE)
    assert near(229, 60, VERMILION)
    assert np.abs(pixels[40:90, 270:370] - 128).max() < 12  # what is ignored isn't drawn
    assert pixels[180:260, 20].min() < 40  # a dashed frame of black and white
    assert pixels[180:260, 20].max() > 200


def test_large_pictures_take_few_bytes() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (2000, 3000, 3), dtype=np.uint8)
    page = opening(ReportData("t", ["cat", "dog"], opening=[picture(noise)]))
    assert drawn(page)[0].width <= 400
    assert len(page) < 150_000


def test_nothing_given_nothing_there() -> None:
    assert opening(ReportData("t", [])) == ""


@pytest.mark.parametrize("ends", [(0.6, 0.66), (float("nan"), float("nan"))])
def test_numbers_have_their_intervals_where_they_are_known(ends: tuple[float, float]) -> None:
    data = ReportData("t", [], summary="AP <b>", metrics={"AP": 0.631}, intervals={"AP": ends}, warnings=["mind!"])
    tree = Tree(opening(data))
    assert ("[0.600, 0.660]" in tree.text) == (ends[0] == 0.6)
    assert tree.text.index("AP <b>") < tree.text.index("0.631") < tree.text.index("mind!")
