"""data.json is whole and of the right types, or refused in one line, whatever key is wrong."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from boxwright.errors import RecipeError
from boxwright.runs import Run

WHOLE: dict[str, Any] = {
    "data": {
        "images": 3,
        "boxes": 4,
        "classes": {"cat": {"train": 3, "val": 1}},
        "findings": [{"severity": "error", "kind": "no-area", "file": "a.xml", "box": 0, "message": "no area"}],
        "splits": [{"name": "train", "images": 2, "boxes": [3]}],
        "layout": "voc",
    },
    "training": {
        "split": "train",
        "validation": "val",
        "images": 2,
        "seed": 0,
        "steps": 5,
        "minutes of steps": 0.1,
        "images/s": 3.0,
        "device": "cpu",
    },
    "origin": {"options": {"split": "train"}, "fingerprint": "0", "commands": ["boxwright train x"]},
    "unreadable": {},
    "environment": {},
}
CHECKED = [
    ("data",),
    ("data", "images"),
    ("data", "boxes"),
    ("data", "classes"),
    ("data", "classes", "cat"),
    ("data", "classes", "cat", "val"),
    ("data", "findings"),
    ("data", "findings", 0),
    ("data", "findings", 0, "severity"),
    ("data", "findings", 0, "kind"),
    ("data", "splits"),
    ("data", "splits", 0),
    ("data", "splits", 0, "name"),
    ("data", "splits", 0, "images"),
    ("training",),
    *(("training", key) for key in ("split", "images", "seed", "steps", "minutes of steps", "images/s", "device")),
    ("origin",),
    ("origin", "options"),
    ("origin", "fingerprint"),
    ("origin", "commands"),
    ("origin", "commands", 0),
]

FREE = [("data",), ("training",), ("origin",), ("origin", "options")]
"""Where other keys may stand too."""


def written(folder: Path, content: Any) -> Run:
    (folder / "data.json").write_text(json.dumps(content))
    return Run(folder)


def wrong(place: tuple[str | int, ...]) -> Iterator[Any]:
    """The whole record with something of another type at a place."""
    for value in (None, [[]], True, *([] if place in FREE else [{"a": []}])):
        content = copy.deepcopy(WHOLE)
        *path, last = place
        inner = content
        for key in path:
            inner = inner[key]  # type: ignore[index]
        inner[last] = value  # type: ignore[index]
        yield content


def test_whole_records_are_given_back(tmp_path: Path) -> None:
    assert written(tmp_path, WHOLE).record == WHOLE
    assert written(tmp_path, {}).record == {"data": {}, "training": {}, "origin": {}}
    (tmp_path / "data.json").unlink()
    assert Run(tmp_path).record == {"data": {}, "training": {}, "origin": {}}


@pytest.mark.parametrize("place", CHECKED, ids=str)
def test_a_wrong_type_anywhere(tmp_path: Path, place: tuple[str | int, ...]) -> None:
    for content in wrong(place):
        with pytest.raises(RecipeError, match=r"data\.json is damaged: [^\n]+$"):
            _ = written(tmp_path, content).record


@pytest.mark.parametrize("key", ["split", "images", "minutes of steps", "images/s", "device"])
def test_a_training_that_has_ended_says_how(tmp_path: Path, key: str) -> None:
    training = {name: value for name, value in WHOLE["training"].items() if name != key}
    with pytest.raises(RecipeError, match=f"doesn't say '{key}'"):
        _ = written(tmp_path, {"training": training}).record


def test_classes_are_counted_in_one_way(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="some classes are counted by split"):
        _ = written(tmp_path, {"data": {"classes": {"cat": 1, "dog": {"train": 1}}}}).record


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "data.json").mkdir()
    with pytest.raises(RecipeError, match=r"can't read .*data\.json: it is no file"):
        _ = Run(tmp_path).record
