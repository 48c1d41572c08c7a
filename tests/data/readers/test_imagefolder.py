from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from boxwright.check import check_dataset
from boxwright.data import available_splits, read_dataset
from dataset_builders import write_picture, write_text


def write(root: Path, *objects: Any, name: str = "metadata.jsonl", **extra: Any) -> Path:
    """Pictures 0.jpg, 1.jpg ... and a line for each."""
    for seed in range(len(objects)):
        write_picture(root / f"{seed}.jpg", seed)
    lines = [{"file_name": f"{place}.jpg", "objects": entry, **extra} for place, entry in enumerate(objects)]
    return write_text(root / name, "".join(json.dumps(line) + "\n" for line in lines))


ANTS = {"bbox": [[1, 2, 30, 40], [10.5, 12, 30, 38]], "categories": ["ant", "zebra"]}


@pytest.mark.parametrize(
    "objects",
    [
        ANTS,
        {"bbox": ANTS["bbox"], "category": ["ant", "zebra"], "id": [3, 4], "area": [1200, 1140]},
        {"bbox": ANTS["bbox"], "label": ["ant", "zebra"]},
        [{"bbox": [1, 2, 30, 40], "category": "ant"}, {"bbox": [10.5, 12, 30, 38], "category": "zebra"}],
    ],
)
def test_objects_are_lists_or_a_list(tmp_path: Path, objects: Any) -> None:
    write(tmp_path, objects)
    data = read_dataset(tmp_path)
    assert (data.layout, data.classes, data.labels.tolist()) == ("imagefolder", ("ant", "zebra"), [0, 1])
    np.testing.assert_allclose(data.boxes, [[1, 2, 31, 42], [10.5, 12, 40.5, 50]])


def test_one_file_for_all_splits(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_picture(tmp_path / split / "a.jpg", len(split))
    lines = [{"file_name": f"{split}/a.jpg", "objects": ANTS} for split in ("train", "test")]
    write_text(tmp_path / "metadata.jsonl", "\n".join(map(json.dumps, lines)))
    assert available_splits(tmp_path) == ("train", "test")
    assert len(read_dataset(tmp_path, "test").boxes) == 2


def test_the_size_that_is_written_is_checked(tmp_path: Path) -> None:
    write(tmp_path, ANTS, width=80, height=66)
    assert [f.kind for f in check_dataset(tmp_path).findings] == ["size-mismatch"]


def test_numbers_are_the_names_of_classes_and_a_finding(tmp_path: Path) -> None:
    write(tmp_path, {"bbox": ANTS["bbox"], "categories": [10, 9]})
    report = check_dataset(tmp_path)
    assert report.classes == ("9", "10")
    assert [(f.severity, f.kind, f.file, f.message) for f in report.findings] == [
        ("warning", "no-class-names", "metadata.jsonl", "classes have numbers and no names: they are called 9, 10")
    ]


def test_images_without_objects(tmp_path: Path) -> None:
    write(tmp_path, ANTS, {"bbox": [], "categories": []}, None, {})
    report = check_dataset(tmp_path)
    assert (report.images, report.boxes) == (4, 2)
    assert [f.kind for f in report.findings] == ["no-boxes"] * 3


@pytest.mark.parametrize(
    ("objects", "kinds"),
    [
        ({"bbox": [[1, 2, 30]], "categories": ["ant"]}, ["bad-number"]),
        ({"bbox": [[1, 2, 30, None]], "categories": ["ant"]}, ["bad-number"]),
        ({"bbox": [[1, 2, 30, 40]], "categories": []}, ["label-out-of-range"]),
        ({"bbox": [], "categories": ["ant"]}, ["bad-number"]),
        ({"bbox": [[1, 2, 0, 40]], "categories": ["ant"]}, ["zero-area"]),
        ({"bbox": [[1, 2, -3, 40]], "categories": ["ant"]}, ["inverted-box"]),
        ({"bbox": "all", "categories": ["ant"]}, ["bad-number"]),
    ],
)
def test_boxes_that_cannot_be_used_are_errors(tmp_path: Path, objects: Any, kinds: list[str]) -> None:
    write(tmp_path, ANTS, objects)
    errors = [f for f in check_dataset(tmp_path).findings if f.severity == "error"]
    findings = [f for f in errors if f.kind != "no-usable-box"]
    assert [f.kind for f in findings] == kinds
    assert all(f.box == 2 and f.message.startswith("1.jpg: ") for f in findings)


def test_lines_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    file = write(tmp_path, ANTS)
    file.write_text(file.read_text() + '{"file_name": \n[]\n\n{"objects": null}\n')
    errors = [(f.kind, f.message) for f in check_dataset(tmp_path).findings if f.severity == "error"]
    assert [kind for kind, _ in errors] == ["unreadable-annotation"] * 3
    assert sorted(message.split(":")[0] for _, message in errors) == ["line 2", "line 3", "names no image"]


def test_a_table_has_its_objects_as_json(tmp_path: Path) -> None:
    write_picture(tmp_path / "0.jpg", 0)
    write_picture(tmp_path / "1.jpg", 1)
    quoted = json.dumps(ANTS).replace('"', '""')
    text = f'file_name,objects\n0.jpg,"{quoted}"\n1.jpg,"{{\'bbox\': []}}"\n'
    write_text(tmp_path / "metadata.csv", text)
    report = check_dataset(tmp_path)
    assert (report.images, report.boxes) == (1, 2)
    (error,) = [f for f in report.findings if f.severity == "error"]
    assert (error.kind, error.message.split(":")[0]) == ("unreadable-annotation", "line 3")
