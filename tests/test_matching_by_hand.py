"""The worked example of docs/matching.md, and that the page says what comes out."""

from pathlib import Path

import pytest
import torch

from boxwright.boxes import box_iou
from boxwright.matching import match_iou

PAGE = Path(__file__).parents[1] / "docs" / "matching.md"
OBJECTS = torch.tensor([[2.0, 0.0, 12.0, 10.0], [4.0, 0.0, 12.0, 10.0], [70.0, 0.0, 80.0, 10.0]])
ANCHORS = torch.tensor(
    [[start, 0.0, end, 10.0] for start, end in [(0, 10), (10, 20), (20, 30), (3, 14), (0, 22), (20, 40), (50, 60)]]
)
A, B, C, O, I = "A", "B", "C", "-", "ignored"  # noqa: E741
BY_HAND = {
    "bipartite": ({}, [B, O, O, A, O, O, C]),
    "last": ({"force": "last"}, [C, O, O, B, O, O, O]),
    "ties": ({"force": "ties", "negative": 0.4}, [A, O, O, A, I, O, O]),
    "none": ({"force": None, "strict": True}, [A, O, O, A, O, O, O]),
}


def test_overlaps():
    expected = [
        [8 / 12, 2 / 18, 0, 9 / 12, 10 / 22, 0, 0],
        [6 / 12, 2 / 16, 0, 8 / 11, 8 / 22, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]
    torch.testing.assert_close(box_iou(OBJECTS, ANCHORS), torch.tensor(expected))


@pytest.mark.parametrize("rule", BY_HAND)
def test_matches(rule):
    options, expected = BY_HAND[rule]
    matches = match_iou(ANCHORS, OBJECTS[None], torch.tensor([[0, 1, 2]]), **options)
    got = [
        "ABC"[target] if state == 1 else ("ignored" if state == -1 else "-")
        for state, target in zip(matches.state[0].tolist(), matches.gt_index[0].tolist(), strict=True)
    ]
    assert got == expected


def test_the_page_says_so():
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.read_text().splitlines() if "|" in line]
    told = {row[0].strip("`"): row[1:] for row in rows}
    for rule, (_, expected) in BY_HAND.items():
        assert told[rule] == expected
