"""The text of the formats, by hand and with names and boxes that no one would wish for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.data.readers.voc_xml import parse_voc
from boxwright.data.readers.yolo_labels import parse_line
from boxwright.runs.formats import CSV_COLUMNS, Picture, class_names, csv_line, csv_rows, voc_text, yolo_text

CLASSES = ("cat", "a < b & \x01'c' 車")


def found(*boxes: tuple[float, ...], labels: tuple[int, ...] = (0, 1), scores: tuple[float, ...] = (0.9, 0.3)) -> Any:
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    return SimpleNamespace(
        boxes=corners, labels=np.array(labels[: len(boxes)]), scores=np.array(scores[: len(boxes)], np.float32)
    )


SOME = found((10, 20, 30, 60), (0, 0, 0.1, 100))
FLAT = found((10, 20, 10, 60), (7, 5, 6, 100))


def test_yolo_by_hand() -> None:
    assert yolo_text(SOME, (100, 200)) == (
        "0 0.100000000 0.400000000 0.100000000 0.400000000\n1 0.000250000 0.500000000 0.000500000 1.000000000\n"
    )
    assert yolo_text(found(), (100, 200)) == yolo_text(FLAT, (100, 200)) == ""


def test_voc_by_hand() -> None:
    file = parse_voc(voc_text(SOME, Picture("a/<b>&.jpg", (100, 200)), CLASSES).encode())
    assert (file.tag, file.filename, file.size, file.original) == ("annotation", "a/<b>&.jpg", (100, 200), False)
    assert [(thing.name, thing.difficult) for thing in file.objects] == [("cat", False), ("a < b &  'c' 車", False)]
    assert np.array_equal(np.float32([thing.xyxy for thing in file.objects]), SOME.boxes)
    empty = parse_voc(voc_text(FLAT, Picture("a.jpg", (100, 200)), CLASSES).encode())
    assert (empty.filename, empty.objects) == ("a.jpg", [])


def test_csv_by_hand() -> None:
    rows = list(csv_rows(SOME, Picture('a,"b.jpg', (100, 200)), CLASSES, (7, 12, 0.5)))
    assert len(rows[0]) == len(CSV_COLUMNS)
    assert csv_line(rows[0]) == b'"a,""b.jpg",200,100,cat,10.0,20.0,30.0,60.0,0.9,7,12,0.5\n'
    assert csv_line(list(csv_rows(SOME, Picture("b.jpg", (1, 1)), CLASSES, (7, None, None)))[1]).endswith(b",0.3,7,,\n")
    assert list(csv_rows(FLAT, Picture("a.jpg", (100, 200)), CLASSES, (7, None, None))) == []


def test_a_line_a_class_whatever_it_is_called() -> None:
    assert class_names(("a", "b\nc\r\nd", "e\u2028f", "g\udcff")) == "a\nb c d\ne f\ng\\udcff\n"


@given(
    st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4),
    st.integers(1, 20_000),
    st.integers(1, 20_000),
)
def test_yolo_boxes_read_back_within_the_image(shares: list[float], height: int, width: int) -> None:
    """To a ten thousandth of a pixel, and outside by no more than that."""
    (x1, x2), (y1, y2) = sorted(shares[:2]), sorted(shares[2:])
    one = found((x1 * width, y1 * height, x2 * width, y2 * height))
    lines = yolo_text(one, (height, width)).splitlines()
    box = one.boxes[0].astype(float)
    assert len(lines) == int(box[2] > box[0] and box[3] > box[1])
    for line in lines:
        read = parse_line(line)
        (cx, cy), (w, h) = read.center, read.size
        back = [(cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height]
        assert back == pytest.approx(box.tolist(), abs=1e-4)


@given(st.lists(st.floats(0, 2**20, width=32), min_size=4, max_size=4), st.text(min_size=1))
def test_voc_reads_back_whatever_the_name(sides: list[float], name: str) -> None:
    (x1, x2), (y1, y2) = sorted(sides[:2]), sorted(sides[2:])
    one = found((x1, y1, x2, y2))
    file = parse_voc(voc_text(one, Picture(f"{name}.jpg", (5, 5)), (name, "")).encode())
    assert [tuple(map(np.float32, thing.xyxy)) for thing in file.objects] == [
        tuple(box) for box in one.boxes if box[2] > box[0] and box[3] > box[1]
    ]
