from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from boxwright.check import check_dataset
from boxwright.data import read_dataset
from dataset_builders import write_picture, write_text
from layout_builders import createml_entry


def test_as_the_documentation_of_apple_has_it(tmp_path: Path) -> None:
    write_picture(tmp_path / "cat and dog.jpg", 0)
    place = {"y": 30.0, "x": 40.5, "height": 40.0, "width": 21.0}
    entry = {"imagefilename": "cat and dog.jpg", "annotation": [{"label": "cat", "coordinates": place}]}
    write_text(tmp_path / "labels.json", json.dumps([entry], indent=2))
    data = read_dataset(tmp_path)
    assert (data.layout, data.classes) == ("createml", ("cat",))
    assert data.boxes.tolist() == [[30, 10, 51, 50]]


def test_a_file_an_image_as_labelimg_writes(tmp_path: Path) -> None:
    for seed, name in enumerate(("a", "b")):
        write_picture(tmp_path / f"{name}.jpg", seed)
        entry = {**createml_entry(f"{name}.jpg", [("ant", 1, 2, 31, 42)]), "verified": False}
        write_text(tmp_path / f"{name}.json", json.dumps([entry]))
    data = read_dataset(tmp_path)
    assert (data.layout, len(data), len(data.boxes)) == ("createml", 2, 2)


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        ({"label": "ant"}, "bad-number"),
        ({"label": "ant", "coordinates": {"x": 1, "y": 2, "width": 3}}, "bad-number"),
        ({"label": "ant", "coordinates": None}, "bad-number"),
        ({"coordinates": {"x": 10, "y": 20, "width": 3, "height": 4}}, "label-out-of-range"),
        ({"label": "ant", "coordinates": {"x": 10, "y": 20, "width": 0, "height": 4}}, "zero-area"),
        ("ant", "bad-number"),
    ],
)
def test_boxes_that_cannot_be_used_are_errors(tmp_path: Path, annotation: Any, kind: str) -> None:
    write_picture(tmp_path / "a.jpg", 0)
    write_picture(tmp_path / "b.jpg", 1)
    first = createml_entry("a.jpg", [("ant", 1, 2, 31, 42), ("ant", 40, 2, 71, 42)])
    broken = {"image": "b.jpg", "annotations": [annotation]}
    write_text(tmp_path / "_annotations.createml.json", json.dumps([first, broken]))
    (error,) = [f for f in check_dataset(tmp_path).findings if f.severity == "error" and f.kind != "no-usable-box"]
    assert (error.kind, error.box) == (kind, 2)
    assert error.message.startswith("b.jpg: ")
