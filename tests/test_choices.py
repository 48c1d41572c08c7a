"""Reading lists of choices."""

from __future__ import annotations

import pytest

from boxwright.choices import parse_choice, split_choices


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("iou", ["iou"]),
        ("iou, giou,,", ["iou", "giou"]),
        ("", []),
        ("alpha_iou:alpha=3,kind=giou,iou", ["alpha_iou:alpha=3,kind=giou", "iou"]),
        ("alpha_iou:alpha=3, kind = giou,iou", ["alpha_iou:alpha=3, kind = giou", "iou"]),
        ("mpdiou:image_size=[300, 400],ciou:variant=tpami", ["mpdiou:image_size=[300, 400]", "ciou:variant=tpami"]),
    ],
)
def test_split_choices(text: str, expected: list[str]) -> None:
    assert split_choices(text) == expected
    for part in expected:
        parse_choice("box_loss", part)  # every part is a choice
