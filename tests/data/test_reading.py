from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxwright.data import available_splits, read_dataset
from boxwright.data.files import Strings, Tree
from boxwright.errors import DataError
from dataset_builders import write_picture, write_text, write_voc

IMAGES = {
    "a": [("dog", 10, 12, 40, 50), ("cat", 1, 1, 20, 30), ("dog", 3, 3, 9, 9)],
    "b": [("cat", 5, 6, 70, 55)],
    "c": [],
    "d": [("bird", 8, 8, 30, 30)],
}


def test_classes_filter_and_order(tmp_path: Path) -> None:
    write_voc(tmp_path, IMAGES)
    data = read_dataset(tmp_path, classes=["dog", "bird"])
    assert data.classes == ("dog", "bird")
    assert data.labels.tolist() == [0, 0, 1]
    assert data.offsets.tolist() == [0, 2, 2, 2, 3]
    assert data.category_ids.tolist() == [1, 2]
    with pytest.raises(DataError, match=r"no class 'brid'; did you mean 'bird'\?"):
        read_dataset(tmp_path, classes=["dog", "brid"])
    with pytest.raises(DataError, match="distinct"):
        read_dataset(tmp_path, classes=["dog", "dog"])


def test_negatives(tmp_path: Path) -> None:
    write_voc(tmp_path, {**IMAGES, **{f"n{i}": [] for i in range(9)}})
    assert len(read_dataset(tmp_path)) == 13
    dropped = read_dataset(tmp_path, negatives="drop")
    assert [dropped.name(i)[-5] for i in range(len(dropped))] == ["a", "b", "d"]
    assert dropped.left_out.negatives == 10
    assert dropped.left_out.summary() == "10 images without objects dropped"
    some = read_dataset(tmp_path, negatives="ratio:0.7")
    assert len(some) == 3 + 2
    assert dropped.image_ids.tolist() == [1, 2, 4]  # ids are places among all images of the split
    for wrong in ("none", "ratio", "ratio:x", "ratio:-1", "keep:1", "ratio:nan"):
        with pytest.raises(DataError, match="Expected negatives"):
            read_dataset(tmp_path, negatives=wrong)


def test_subset_keeps_ids_and_boxes(tmp_path: Path) -> None:
    write_voc(tmp_path, IMAGES)
    data = read_dataset(tmp_path)
    part = data.subset([3, 0, 2])
    assert part.image_ids.tolist() == [4, 1, 3]
    assert [part.name(i) for i in range(3)] == [data.name(3), data.name(0), data.name(2)]
    assert part.path(1) == data.path(0)
    for new, old in enumerate([3, 0, 2]):
        for mine, its in zip(part.target(new), data.target(old), strict=True):
            np.testing.assert_array_equal(mine, its)
    assert len(data.subset([])) == 0
    assert data.subset([]).coco_json()["annotations"] == []


def test_boxes_know_their_place_in_their_file(tmp_path: Path) -> None:
    """Those left out count too: the first box has no area, and the second is of a class that isn't asked for."""
    write_voc(tmp_path, {"a": [("dog", 9, 9, 9, 20), *IMAGES["a"]], "b": IMAGES["b"]})
    data = read_dataset(tmp_path, classes=["cat"])
    assert data.numbers.tolist() == [2, 0]
    assert [data.files[place] for place in range(2)] == ["Annotations/a.xml", "Annotations/b.xml"]
    last = data.subset([1])
    assert (last.numbers.tolist(), last.files[0]) == ([0], "Annotations/b.xml")


def test_saved_annotation_ids_start_at_one(tmp_path: Path) -> None:
    """pycocotools keeps the id of what a detection matched, and takes 0 for nothing."""
    write_voc(tmp_path, IMAGES)
    data = read_dataset(tmp_path)
    ids = [entry["id"] for entry in replace(data, annotation_ids=data.annotation_ids * 0).coco_json()["annotations"]]
    assert ids == list(range(1, len(data.boxes) + 1))


def test_a_data_set_pickles_small(tmp_path: Path) -> None:
    write_voc(tmp_path, IMAGES)
    data = read_dataset(tmp_path)
    again = pickle.loads(pickle.dumps(data))
    assert again.name(3) == "JPEGImages/d.jpg"
    assert len(pickle.dumps(data)) < 5000


@pytest.mark.parametrize("prepare", ["missing", "empty", "file", "other"])
def test_what_is_no_data_set_is_one_line(tmp_path: Path, prepare: str) -> None:
    path = tmp_path / "data"
    if prepare == "file":
        path.write_text("x")
    elif prepare != "missing":
        path.mkdir()
    if prepare == "other":
        write_picture(path / "images" / "a.jpg", 1)
        write_text(path / "results.json", "[]")
    for function in (read_dataset, available_splits):
        with pytest.raises(DataError, match="data") as error:
            function(path)
        assert "\n" not in str(error.value)


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=9), max_size=9))
def test_strings_round_trip(texts: list[str]) -> None:
    packed = Strings.pack(texts)
    assert [packed[i] for i in range(len(packed))] == texts


def test_tree_answers_for_its_folder_alone(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write_text(root / "in" / "file.txt", "")
    write_text(tmp_path / "file.txt", "")
    (root / "link").symlink_to(tmp_path)
    (root / "inner").symlink_to(root / "in")
    tree = Tree(root)
    states = {
        "in/file.txt": "there",
        "./in/../in/file.txt": "there",
        "in\\file.txt": "there",
        str(root / "in" / "file.txt"): "there",
        "inner/file.txt": "there",
        "in/none.txt": "missing",
        "none/file.txt": "missing",
        "a\x00b/c": "missing",
        "../file.txt": "outside",
        "in/../../file.txt": "outside",
        "..": "outside",
        "link": "outside",
        "link/file.txt": "outside",
        "/etc/passwd": "outside",
        "C:\\file.txt": "outside",
    }
    assert {path: tree.state(path) for path in states} == states
    assert dict(tree.locate(".", states)).keys() >= {"in/file.txt"}
    assert [state for _, state in tree.locate("in", ["file.txt", "../../file.txt", "/etc/passwd", "x"])] == [
        "there",
        "outside",
        "outside",
        "missing",
    ]


def test_reading_and_checking_import_no_torch() -> None:
    code = "import sys, boxwright.data, boxwright.check; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
