from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from boxwright.check import check_dataset
from boxwright.data import available_splits, read_dataset
from boxwright.data.annotations import Annotations, Builder
from boxwright.data.made_splits import by_rarity, hashed_fraction, make_splits, read_split_file
from boxwright.data.splits import HASHED
from boxwright.errors import DataError, RecipeError
from dataset_builders import picture, write_picture, write_text, write_voc


def table_of(root: Path, labels: Mapping[str, Sequence[int]], classes: int = 1) -> Annotations:
    """A table of images with one box for each label; the files needn't be there."""
    builder = Builder()
    for name, found in labels.items():
        builder.add_image(name, "annotations.json", (9, 9), True)
        for number, label in enumerate(found):
            builder.add_box(number, (1.0, 1.0, 5.0, 5.0), (4.0, 4.0), label)
    return builder.build(root, "own", tuple(f"class {i}" for i in range(classes)))


def homes_of(table: Annotations, group_by: str | None = None) -> dict[str, str]:
    splits = make_splits(table, group_by)
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(len(table.names)))
    return {table.names[row]: split for split, rows in splits.items() for row in rows.tolist()}


def test_split_is_stable_and_keeps_copies_together(tmp_path: Path) -> None:
    write_picture(tmp_path / "original.png", 0, 8, 8)
    names = [f"{i:03d}.png" for i in range(400)]
    for i, name in enumerate(names):
        write_text(tmp_path / name, f"content {i}, of any length {'x' * (i % 7)}")
    for copy in names[:40]:
        shutil.copy(tmp_path / "original.png", tmp_path / copy)
    homes = homes_of(table_of(tmp_path, {name: [0] for name in names}))
    assert len({homes[name] for name in names[:40]}) == 1
    shares = [np.mean([homes[name] == split for name in names[40:]]) for split in HASHED]
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=0.03)
    fewer = homes_of(table_of(tmp_path, {name: [0] for name in names[100:]}))
    assert np.mean([homes[name] == split for name, split in fewer.items()]) > 0.97
    shuffled = homes_of(table_of(tmp_path, {name: [0] for name in np.random.default_rng(0).permutation(names)}))
    assert shuffled == homes


@pytest.mark.parametrize("count", range(8))
def test_small_data_has_no_empty_split(tmp_path: Path, count: int) -> None:
    splits = make_splits(table_of(tmp_path, {f"{i}.png": [0] for i in range(count)}))
    assert sum(len(rows) for rows in splits.values()) == count
    if count >= 3:
        assert min(len(rows) for rows in splits.values()) >= 1
    else:
        assert len(splits["train"]) == count


@pytest.mark.parametrize("labels", [[0], [], [1, 0]])
def test_training_images_are_never_wanting(tmp_path: Path, labels: list[int]) -> None:
    names = sorted((f"{i}.png" for i in range(400)), key=hashed_fraction)[-3:]  # of which none would be train
    homes = homes_of(table_of(tmp_path, dict.fromkeys(names, labels), 2))
    assert Counter(homes.values()) == dict.fromkeys(HASHED, 1)


def test_each_class_of_three_images_is_in_every_split(tmp_path: Path) -> None:
    """A long tail: class k has 300 / (k + 1) images, and the images of the common ones show others too."""
    draw = np.random.default_rng(3)
    labels: dict[str, list[int]] = {}
    for label in range(100):
        for _ in range(300 // (label + 1)):
            labels[f"{len(labels):05d}.jpg"] = [label, *draw.integers(0, max(label, 1), draw.integers(3)).tolist()]
    table = table_of(tmp_path, labels, 100)
    homes = homes_of(table)
    for label in range(100):
        found = Counter(homes[name] for name, has in labels.items() if label in has)
        if found.total() >= 3:
            assert set(found) == set(HASHED), (label, found)
        shares = [found[split] / found.total() for split in HASHED[1:]]
        if found.total() >= 40:
            np.testing.assert_allclose(shares, [0.1, 0.1], atol=0.08)  # images of rare classes have others too


@given(st.lists(st.lists(st.integers(0, 3), max_size=3), min_size=3, max_size=25))
def test_any_data_is_split_wholly(labels: list[list[int]]) -> None:
    table = table_of(Path("nowhere"), {f"{i}.jpg": has for i, has in enumerate(labels)}, 4)
    homes = homes_of(table)
    assert set(homes.values()) == set(HASHED)


def test_groups_are_taken_by_the_rarest_class(tmp_path: Path) -> None:
    table = table_of(tmp_path, {"a": [0, 1], "b": [0], "c": [0, 2, 1], "d": [], "e": [1, 1]}, 3)
    found = [places.tolist() for places in by_rarity(table, [[0], [1], [2], [3], [4]])]
    assert found == [[2], [0, 1, 2], [0, 2, 4], [3]]
    assert [places.tolist() for places in by_rarity(table, [[0, 2], [1, 4], [3]])] == [[0], [0, 1], [0, 1], [2]]


def write_video(root: Path, cameras: int = 12, frames: int = 6) -> Path:
    """Frames that differ by a few pixels of shift, of cameras that differ wholly."""
    names = [f"cam{camera:02d}_{frame}" for camera in range(cameras) for frame in range(frames)]
    write_voc(root, {name: [("dog", 2, 2, 30, 30)] for name in names})
    for name in names:
        camera, frame = int(name[3:5]), int(name[6:])
        shifted = picture(camera, 60, 100)[:, frame // 2 : frame // 2 + 80]
        Image.fromarray(shifted).save(root / "JPEGImages" / f"{name}.jpg")
    return root


@pytest.mark.parametrize("rule", [None, "near", r"(cam\d+)_", r"cam\d+"])
def test_frames_of_one_video_stay_together(tmp_path: Path, rule: str | None) -> None:
    write_video(tmp_path)
    homes: dict[str, set[str]] = {}
    for split in HASHED:
        data = read_dataset(tmp_path, split, group_by=rule)
        assert len(data)
        for row in range(len(data)):
            homes.setdefault(Path(data.name(row)).name[:5], set()).add(split)
    assert len(homes) == 12
    assert all(len(splits) == 1 for splits in homes.values())
    report = check_dataset(tmp_path, group_by=rule or "near")
    assert not [finding for finding in report.findings if "leakage" in finding.message]


def test_folders_stay_together(tmp_path: Path) -> None:
    for i in range(60):
        write_picture(tmp_path / "images" / f"day{i % 10}" / f"{i}.jpg", i)
        write_text(tmp_path / "labels" / f"day{i % 10}" / f"{i}.txt", "0 .5 .5 .2 .2\n")
    homes = {split: read_dataset(tmp_path, split, group_by="folder") for split in HASHED}
    days = {s: {Path(data.name(row)).parent.name for row in range(len(data))} for s, data in homes.items()}
    assert sum(map(len, days.values())) == 10
    assert all(days.values())


def test_large_groups_are_trained_on(tmp_path: Path) -> None:
    sizes = {"a": 70, "b": 20, "c": 10}
    names = [f"{group}/{i}.jpg" for group, size in sizes.items() for i in range(size)]
    splits = make_splits(table_of(tmp_path, {name: [0] for name in names}), "folder")
    assert [len(splits[name]) for name in HASHED] == [70, 20, 10]
    many = [*(f"big/{i}.jpg" for i in range(100)), *(f"{i % 20}/{i}.jpg" for i in range(100))]
    splits = make_splits(table_of(tmp_path, {name: [0] for name in many}), "folder")
    assert set(range(100)) <= set(splits["train"].tolist())
    assert min(len(splits["val"]), len(splits["test"])) >= 10


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("(", "Expected --group-by to be folder, near or a regular expression but got '\\('"),
        ("folder", "all 4 images of .* go together"),
        ("nowhere", "found in no path of an image, such as JPEGImages/a.jpg"),
    ],
)
def test_rules_that_part_nothing(tmp_path: Path, rule: str, message: str) -> None:
    write_voc(tmp_path, {name: [("dog", 1, 1, 9, 9)] for name in "abcd"})
    with pytest.raises(DataError, match=message):
        read_dataset(tmp_path, "train", group_by=rule)


def test_data_with_splits_is_not_split_anew(tmp_path: Path) -> None:
    write_voc(tmp_path, {name: [("dog", 1, 1, 9, 9)] for name in "abcd"}, {"train": "ab", "val": "cd"})
    with pytest.raises(DataError, match="--group-by is for data without splits; this has train, val"):
        read_dataset(tmp_path, "train", group_by="near")


def write_splits(path: Path, **splits: Sequence[str]) -> Path:
    return write_text(path, json.dumps({"splits": splits}))


def test_split_file_is_instead_of_the_datas_own(tmp_path: Path) -> None:
    images = {name: [("dog", 1, 1, 9, 9)] for name in ("a", "b", "c", "d", "é")}
    write_voc(tmp_path / "data", images, {"train": "ab", "val": "cd"})
    file = write_splits(tmp_path / "s.json", fit=["JPEGImages/a.jpg", "JPEGImages/é.jpg"], hold=["JPEGImages/b.jpg"])
    assert available_splits(tmp_path / "data", split_file=file) == ("fit", "hold")
    fit, hold = (read_dataset(tmp_path / "data", split, split_file=file) for split in ("fit", "hold"))
    assert [fit.name(row) for row in range(2)] == ["JPEGImages/a.jpg", "JPEGImages/é.jpg"]
    assert [hold.name(row) for row in range(len(hold))] == ["JPEGImages/b.jpg"]
    report = check_dataset(tmp_path / "data", split_file=file)
    assert [(split.name, split.images) for split in report.splits] == [("fit", 2), ("hold", 1)]
    left = [finding.file for finding in report.findings if finding.kind == "no-split"]
    assert left == ["JPEGImages/c.jpg", "JPEGImages/d.jpg"]
    with pytest.raises(DataError, match="no split 'val'"):
        read_dataset(tmp_path / "data", "val", split_file=file)


def test_split_file_names_what_is_not_there(tmp_path: Path) -> None:
    write_voc(tmp_path / "data", {name: [("dog", 1, 1, 9, 9)] for name in "ab"})
    file = write_splits(tmp_path / "s.json", train=["JPEGImages/a.jpg", "JPEGImages/z.jpg"])
    data = read_dataset(tmp_path / "data", "train", split_file=file)
    faults = [(fault.kind, fault.message) for fault in data.left_out.faults]
    assert faults == [("missing-image", "no image JPEGImages/z.jpg")]
    none = write_splits(tmp_path / "n.json", train=["x.jpg"])
    with pytest.raises(DataError, match=r"none of its images is in the data: it names x.jpg, .* has JPEGImages/a.jpg"):
        read_dataset(tmp_path / "data", "train", split_file=none)


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", '{"splits": {}}', '{"splits": {"train": "a.jpg"}}', '{"splits": {"train": [1]}}', '{"splits": ["a"]}'],
)
def test_split_file_of_another_form(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="Expected splits with the names of their images"):
        read_split_file(write_text(tmp_path / "s.json", text))


def test_damaged_split_file(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"s\.json is damaged"):
        read_split_file(write_text(tmp_path / "s.json", '{"splits": {"tr'))
    with pytest.raises(RecipeError, match="it is no file"):
        read_split_file(tmp_path)  # a run without a split.json
    with pytest.raises(DataError, match=r"split 'train' names a\.jpg twice"):
        read_split_file(write_splits(tmp_path / "s.json", train=["a.jpg", "a.jpg"]))
