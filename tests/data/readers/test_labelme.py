from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from boxwright.check import check_dataset
from boxwright.data import available_splits, read_dataset
from boxwright.data.layout import open_layout
from boxwright.errors import DataError
from dataset_builders import write_picture, write_text
from layout_builders import labelme_content


def shape(kind: str | None, points: list[Any], label: object = "ant") -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind}


def write(root: Path, *shapes: dict[str, Any], name: str = "a", **extra: Any) -> Path:
    content = labelme_content(f"{name}.jpg", [], shapes=list(shapes), **extra)
    write_picture(root / f"{name}.jpg", len(name))
    return write_text(root / f"{name}.json", json.dumps(content))


@pytest.mark.parametrize(
    ("kind", "points", "box"),
    [
        ("rectangle", [[40, 50], [10, 12]], [10, 12, 40, 50]),  # drawn from the lower right
        ("rectangle", [[10, 12], [40, 12], [40, 50], [10, 50]], [10, 12, 40, 50]),  # X-AnyLabeling
        ("polygon", [[10, 20], [30, 12], [40, 50]], [10, 12, 40, 50]),
        (None, [[10, 20], [30, 12], [40, 50]], [10, 12, 40, 50]),  # labelme before 3
        ("circle", [[25, 30], [28, 34]], [20, 25, 30, 35]),
        ("rotation", [[20, 10], [30, 20], [20, 30], [10, 20]], [10, 10, 30, 30]),
        ("mask", [[10, 12], [40, 50]], [10, 12, 40, 50]),
    ],
)
def test_the_box_around_a_shape(tmp_path: Path, kind: str | None, points: list[Any], box: list[float]) -> None:
    write(tmp_path, shape(kind, points))
    np.testing.assert_allclose(read_dataset(tmp_path).boxes, [box])


def test_outlines_are_named_once(tmp_path: Path) -> None:
    triangle = shape("polygon", [[10, 20], [30, 12], [40, 50]])
    write(tmp_path, triangle, shape("circle", [[60, 30], [68, 34]]), shape("rectangle", [[1, 2], [30, 40]]))
    write(tmp_path, triangle, name="bb")
    write(tmp_path, shape("rotation", [[20, 10], [30, 20], [20, 30], [10, 20]]), name="ccc")
    found = [(f.kind, f.file, f.message) for f in check_dataset(tmp_path).findings]
    assert found == [
        ("box-from-polygon", "a.json", "3 shapes are polygons, circles or the like: the boxes around them are read"),
        ("angle-lost", "ccc.json", "1 shapes are turned boxes: the upright boxes around them are read"),
    ]


@pytest.mark.parametrize("kind", ["point", "points", "line", "linestrip"])
def test_points_and_lines_are_findings(tmp_path: Path, kind: str) -> None:
    write(tmp_path, shape("rectangle", [[1, 2], [30, 40]]), shape(kind, [[10, 20], [30, 12]][: 1 + ("line" in kind)]))
    report = check_dataset(tmp_path)
    assert report.boxes == 1
    assert [(f.severity, f.kind, f.box, f.message) for f in report.findings] == [
        ("warning", "not-a-box", 1, f"is a {kind}, which has no box")
    ]


@pytest.mark.parametrize(
    "points", [[], [[1, 2]], [[1, 2], [None, 4]], [[1, 2], ["x", 3]], [1, 2, 3, 4], None, {"x": 1}, [[1], [2]]]
)
def test_points_that_cannot_be_read_are_errors(tmp_path: Path, points: Any) -> None:
    write(tmp_path, shape("rectangle", points), shape("rectangle", [[1, 2], [30, 40]]))
    report = check_dataset(tmp_path)
    assert [(f.kind, f.box) for f in report.findings if f.severity == "error"] == [("bad-number", 0)]
    assert len(read_dataset(tmp_path).boxes) == 1


def test_labels_that_are_numbers_or_nothing(tmp_path: Path) -> None:
    corners = [[1, 2], [30, 40]]
    other = [[40, 2], [70, 40]]
    write(tmp_path, shape("rectangle", corners, 7), shape("rectangle", other, None), shape("rectangle", other, "  "))
    report = check_dataset(tmp_path)
    assert report.classes == ("7",)
    assert [(f.kind, f.box) for f in report.findings if f.severity == "error"] == [
        ("label-out-of-range", 1),
        ("label-out-of-range", 2),
    ]


def test_image_data_is_passed_over_and_nan_is_read(tmp_path: Path) -> None:
    data = base64.b64encode(bytes(range(256)) * 40).decode()
    write(tmp_path, shape("rectangle", [[1, 2], [30, float("nan")]]), imageData=data)
    write(tmp_path, shape("rectangle", [[1, 2], [30, 40]]), name="bb", imageData=data)
    assert {f.kind for f in check_dataset(tmp_path).findings if f.severity == "error"} == {
        "bad-number",
        "no-usable-box",
    }


@pytest.mark.parametrize("path", ["..\\imgs\\a.jpg", "../imgs/a.jpg", "C:\\labels\\imgs\\a.jpg", "/x/a.jpg", "a.jpg"])
def test_json_in_a_folder_of_its_own(tmp_path: Path, path: str) -> None:
    write_picture(tmp_path / "imgs" / "a.jpg", 1)
    content = labelme_content(path, [("ant", 1, 2, 30, 40)])
    write_text(tmp_path / "json" / "a.json", json.dumps(content))
    data = read_dataset(tmp_path)
    assert [data.name(i) for i in range(len(data))] == ["imgs/a.jpg"]
    assert check_dataset(tmp_path).findings == ()


def test_the_picture_that_is_called_as_the_file_counts(tmp_path: Path) -> None:
    """Scripts that number files anew change the names of both and leave imagePath as it was."""
    write(tmp_path, shape("rectangle", [[1, 2], [30, 40]]), imagePath="b.jpg")
    write(tmp_path, name="b", imagePath="c.jpg")
    data = read_dataset(tmp_path)
    assert [data.name(i) for i in range(2)] == ["a.jpg", "b.jpg"]
    assert data.offsets.tolist() == [0, 1, 1]
    kinds = {f.file: f.message for f in check_dataset(tmp_path).findings if f.kind == "name-mismatch"}
    assert kinds == {
        "a.json": "imagePath is b.jpg, but a.jpg has the file's name and is taken",
        "b.json": "imagePath is c.jpg, but b.jpg has the file's name and is taken",
    }


def test_of_two_pictures_of_one_name_the_file_says_which(tmp_path: Path) -> None:
    write(tmp_path, shape("rectangle", [[1, 2], [30, 40]]), imagePath="a.png")
    write_picture(tmp_path / "a.png", 5)
    data = read_dataset(tmp_path)
    assert [data.name(i) for i in range(len(data))] == ["a.png"]
    assert [f.file for f in check_dataset(tmp_path).findings if f.kind == "orphan-image"] == ["a.jpg"]


def test_folders_are_splits_names_of_files_are_not(tmp_path: Path) -> None:
    for place in ("train/test_1", "train/day/b", "test/x"):
        write(tmp_path / Path(place).parent, shape("rectangle", [[1, 2], [30, 40]]), name=Path(place).name)
    assert available_splits(tmp_path) == ("train", "test")
    assert len(read_dataset(tmp_path, "train")) == 2
    assert open_layout(tmp_path).split_file("test") == "test"


def test_other_json_beside_it_is_named(tmp_path: Path) -> None:
    write(tmp_path, shape("rectangle", [[1, 2], [30, 40]]))
    write_text(tmp_path / "settings.json", '{"a": 1}')
    assert [(f.kind, f.file) for f in check_dataset(tmp_path).findings] == [("unused-file", "settings.json")]


def test_a_file_whose_picture_is_gone(tmp_path: Path) -> None:
    write(tmp_path, shape("rectangle", [[1, 2], [30, 40]]))
    write(tmp_path, shape("rectangle", [[1, 2], [30, 40]]), name="bb")
    (tmp_path / "bb.jpg").unlink()
    report = check_dataset(tmp_path)
    assert [(f.kind, f.file) for f in report.findings if f.severity == "error"] == [("missing-image", "bb.json")]
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(DataError):
        open_layout(tmp_path)
