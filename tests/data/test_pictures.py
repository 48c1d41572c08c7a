"""Whose raster boxes are in, and which range deep pixels have: the same in reading and in checking."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from boxwright.check import CheckReport, check_dataset
from boxwright.data import DetectionDataset, pictures, read_dataset
from boxwright.data.depth import span
from boxwright.data.upright import turn
from boxwright.errors import DataError, RecipeError
from dataset_builders import (
    Box,
    coco_content,
    exif_with,
    picture,
    voc_xml,
    write_coco,
    write_text,
    write_voc,
    yolo_text,
)

STORED: Box = ("cat", 10, 12, 40, 50)
"""In an image of 60 x 80 pixels, as stored."""
UPRIGHT = {3: (40, 10, 70, 48), 6: (10, 10, 48, 40), 7: (10, 40, 48, 70), 8: (12, 40, 50, 70)}
"""The same on the image as it is seen, by orientation."""


def save(path: Path, seed: int, turned: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed)).save(path, exif=exif_with(turned), quality=95)


def voc(root: Path, boxes: list[Box], turned: int, size: tuple[int, int] = (60, 80)) -> Path:
    for seed, name in enumerate("abc"):
        save(root / "JPEGImages" / f"{name}.jpg", seed, turned)
        write_text(root / "Annotations" / f"{name}.xml", voc_xml(f"{name}.jpg", boxes, size=size))
    return root


def coco(root: Path, boxes: list[Box], turned: int, size: tuple[int, int] = (60, 80)) -> Path:
    content = coco_content(dict.fromkeys(("a.jpg", "b.jpg", "c.jpg"), boxes), ["cat"])
    for seed, image in enumerate(content["images"]):
        save(root / "images" / image["file_name"], seed, turned)
        image["height"], image["width"] = size
    write_text(root / "result.json", json.dumps(content))
    return root


def yolo(root: Path, boxes: list[Box], turned: int, size: tuple[int, int] = (60, 80)) -> Path:
    for seed, name in enumerate("abc"):
        save(root / "images" / f"{name}.jpg", seed, turned)
        write_text(root / "labels" / f"{name}.txt", yolo_text(boxes, ["cat"]))
    write_text(root / "classes.txt", "cat\n")
    return root


def boxes_of(data: DetectionDataset) -> list[list[int]]:
    assert (data.xywh[:, 2:] == data.boxes[:, 2:].astype(float) - data.boxes[:, :2]).all()
    return [row.round(3).tolist() for row in data.target(0).boxes]


def said(report: CheckReport, kind: str = "exif-rotated") -> set[str]:
    return {finding.message for finding in report.findings if finding.kind == kind}


def kinds(report: CheckReport) -> set[str]:
    return {finding.kind for finding in report.findings} - {"near-identical-images"}


@pytest.mark.parametrize("turned", [6, 7, 8])
def test_boxes_follow_the_annotated_size_where_it_is_the_stored_one(tmp_path: Path, turned: int) -> None:
    data = read_dataset(voc(tmp_path, [STORED], turned))
    assert boxes_of(data) == [list(UPRIGHT[turned])]
    assert data.sizes.tolist() == [[80, 60]] * 3
    assert data.pixels.exif == "boxes"
    assert data.left_out.summary() == "boxes of 3 images turned as EXIF says (exif=boxes)"
    assert data.decode(0).shape == (80, 60, 3)
    report = check_dataset(tmp_path)
    assert kinds(report) == {"exif-rotated"}
    assert "also to the boxes" in said(report).pop()


@pytest.mark.parametrize("turned", [6, 7, 8])
def test_a_turned_box_shows_what_it_showed(tmp_path: Path, turned: int) -> None:
    data = read_dataset(voc(tmp_path, [STORED], turned))
    x1, y1, x2, y2 = data.target(0).boxes[0].astype(int)
    shown = turn(picture(0)[12:50, 10:40], turned)
    assert np.abs(data.decode(0)[y1:y2, x1:x2].astype(int) - shown).mean() < 8


def test_an_upright_size_means_upright_boxes(tmp_path: Path) -> None:
    seen: Box = ("cat", *UPRIGHT[6])
    for exif in (None, "apply", "boxes"):
        data = read_dataset(voc(tmp_path, [seen], 6, size=(80, 60)), exif=exif)
        assert boxes_of(data) == [list(UPRIGHT[6])]
        assert data.pixels.exif == exif
    assert kinds(check_dataset(tmp_path)) == {"exif-rotated"}


def test_coco_sizes_of_the_file_go_with_upright_boxes_unless_boxes_tell(tmp_path: Path) -> None:
    """Label Studio takes the size from the file's header, and people draw on the upright image."""
    seen: Box = ("cat", *UPRIGHT[6])
    data = read_dataset(coco(tmp_path / "studio", [seen], 6))
    assert (boxes_of(data), data.pixels.exif) == ([list(UPRIGHT[6])], "apply")
    assert data.sizes.tolist() == [[80, 60]] * 3
    report = check_dataset(tmp_path / "studio")
    assert kinds(report) == {"exif-rotated", "size-mismatch"}
    assert "exif=boxes" in said(report).pop()
    wide: Box = ("cat", 50, 20, 75, 50)  # beyond the 60 columns of the upright image
    data = read_dataset(coco(tmp_path / "raw", [STORED, wide], 6))
    assert (boxes_of(data)[0], data.pixels.exif) == (list(UPRIGHT[6]), "boxes")


def test_boxes_that_fit_the_upright_image_alone_outvote_the_size(tmp_path: Path) -> None:
    tall: Box = ("cat", 5, 30, 50, 75)
    data = read_dataset(voc(tmp_path, [("cat", *UPRIGHT[6]), tall], 6))
    assert boxes_of(data) == [list(UPRIGHT[6]), [5, 30, 50, 75]]
    assert kinds(check_dataset(tmp_path)) == {"exif-rotated", "size-mismatch"}


def test_half_a_turn_can_not_be_told_from_the_size(tmp_path: Path) -> None:
    voc(tmp_path, [STORED], 3)
    assert boxes_of(read_dataset(tmp_path)) == [[10, 12, 40, 50]]
    assert "exif=boxes" in said(check_dataset(tmp_path)).pop()
    assert boxes_of(read_dataset(tmp_path, exif="boxes")) == [list(UPRIGHT[3])]
    assert "exif=apply" in said(check_dataset(tmp_path, exif="boxes")).pop()


def test_half_turns_go_with_the_quarter_turns_beside_them(tmp_path: Path) -> None:
    voc(tmp_path, [STORED], 6)
    save(tmp_path / "JPEGImages" / "b.jpg", 1, 3)
    data = read_dataset(tmp_path)
    assert data.target(0).boxes.tolist() == [list(UPRIGHT[6])]
    assert data.target(1).boxes.tolist() == [list(UPRIGHT[3])]


@pytest.mark.parametrize("layout", [voc, coco, yolo])
@pytest.mark.parametrize("turned", [3, 6])
def test_the_option_says_whose_raster_it_is_in_every_layout(
    tmp_path: Path, layout: Callable[..., Path], turned: int
) -> None:
    layout(tmp_path, [STORED], turned)
    stored = [10, 12, 40, 50]
    ignored = read_dataset(tmp_path, exif="ignore")
    assert boxes_of(ignored) == [stored]
    assert ignored.sizes.tolist() == [[60, 80]] * 3
    assert np.abs(ignored.decode(0).astype(int) - picture(0)).mean() < 8
    assert "it is ignored" in said(check_dataset(tmp_path, exif="ignore")).pop()
    assert kinds(check_dataset(tmp_path, exif="ignore")) == {"exif-rotated"}
    moved = read_dataset(tmp_path, exif="boxes")
    assert boxes_of(moved) == [list(UPRIGHT[turned])]
    assert moved.decode(0).shape[:2] == tuple(moved.sizes[0])
    if layout is not yolo:
        assert boxes_of(read_dataset(tmp_path, exif="apply")) == [stored]


def test_fractions_are_of_the_upright_image_by_default(tmp_path: Path) -> None:
    data = read_dataset(yolo(tmp_path, [("cat", 20, 15, 60, 45)], 6))
    assert boxes_of(data) == [[15, 20, 45, 60]]
    assert data.pixels.exif is None


def test_images_that_nothing_turns_settle_nothing(tmp_path: Path) -> None:
    for turned in (0, 1, 9):
        data = read_dataset(voc(tmp_path, [STORED], turned))
        assert (boxes_of(data), data.pixels.exif) == ([[10, 12, 40, 50]], None)
        assert kinds(check_dataset(tmp_path)) == ({"exif-unknown"} if turned == 9 else set())


def test_wrong_values_are_refused(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": [STORED]})
    for function in (read_dataset, check_dataset):
        with pytest.raises(RecipeError, match="Expected exif to be one of apply, ignore, boxes but got 'turn'"):
            function(tmp_path, exif="turn")
        with pytest.raises(RecipeError, match="Expected depth_range to be data, image or LOW,HIGH"):
            function(tmp_path, depth_range="7")


def thermal(root: Path, name: str, seed: int, low: float, high: float) -> None:
    """A picture in kelvin between two temperatures."""
    values = picture(seed)[..., 0].astype(np.float32)
    values = low + (values - values.min()) / np.ptp(values) * (high - low)
    Image.fromarray(values.astype(np.float32)).save(root / "JPEGImages" / f"{name}.tif")
    write_text(root / "Annotations" / f"{name}.xml", voc_xml(f"{name}.tif", [STORED]))


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """Training images from 290 to 310 K and the others from 300 to 330 K; one has 8 bits."""
    (tmp_path / "JPEGImages").mkdir()
    for seed, name in enumerate("abcdef"):
        thermal(tmp_path, name, seed, *((290, 310) if name < "e" else (300, 330)))
    Image.fromarray(picture(9)).save(tmp_path / "JPEGImages" / "g.png")
    write_text(tmp_path / "Annotations" / "g.xml", voc_xml("g.png", [STORED]))
    for split, names in {"train": "abcdg", "val": "e", "test": "f"}.items():
        write_text(tmp_path / "ImageSets" / "Main" / f"{split}.txt", "\n".join(names))
    return tmp_path


def test_the_range_is_that_of_the_training_images_in_every_split(deep: Path) -> None:
    ranges = {read_dataset(deep, split).pixels.depth_range for split in ("train", "val", "test", None)}
    assert len(ranges) == 1
    low, high = map(float, ranges.pop().split(","))
    assert 290 <= low < 291
    assert 309 < high <= 310
    assert read_dataset(deep, "val").decode(0).max() == 255  # hotter than any training image
    train = read_dataset(deep, "train")
    gray = train.decode(0)[..., 0]
    assert (gray.min(), gray.max()) == (0, 255)
    assert len(np.unique(gray)) > 200
    np.testing.assert_array_equal(train.decode(4), picture(9))  # 8 bits stay as they are


def test_check_says_the_range_that_training_takes(deep: Path) -> None:
    report = check_dataset(deep)
    limits = read_dataset(deep, "train").pixels.depth_range
    messages = said(report, "deep-image")
    assert all(message.endswith(f"(depth_range={limits})") for message in messages)
    assert {message.split(";")[0] for message in messages} == {
        "pixels are F, 290 to 310",
        "pixels are F, 300 to 330",
    }


def test_the_range_may_be_given(deep: Path) -> None:
    data = read_dataset(deep, "val", depth_range="280,380")
    assert data.pixels.depth_range == "280,380"
    assert abs(int(data.decode(0).max()) - 127.5) < 1
    own = read_dataset(deep, "val", depth_range="image")
    assert (own.decode(0).min(), own.decode(0).max()) == (0, 255)
    assert "by its own range (depth_range=image)" in said(check_dataset(deep, depth_range="image"), "deep-image").pop()


def test_a_set_without_deep_images_settles_no_range(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": [STORED], "b": [STORED]})
    assert read_dataset(tmp_path).pixels.depth_range == "data"


def test_of_a_large_set_a_part_tells_whether_more_is_worth_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "MOST_HEADERS", 8)
    monkeypatch.setattr(pictures, "SPREAD", 3)
    read: list[str] = []
    original = pictures._try_header
    monkeypatch.setattr(
        pictures, "_try_header", lambda path, limit: read.append(Path(path).name) or original(path, limit)
    )
    names = [f"{n:02}" for n in range(12)]
    write_voc(tmp_path, {name: [STORED] for name in names})
    read_dataset(tmp_path)
    assert sorted(read) == ["00.jpg", "06.jpg", "11.jpg"]
    save(tmp_path / "JPEGImages" / "06.jpg", 6, 6)
    read.clear()
    read_dataset(tmp_path)
    assert sorted(read) == [f"{name}.jpg" for name in names]


@pytest.mark.parametrize("turned", [6, 8])
def test_a_turned_picture_that_reading_a_large_set_missed_has_no_wrong_boxes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turned: int
) -> None:
    monkeypatch.setattr(pictures, "MOST_HEADERS", 8)
    monkeypatch.setattr(pictures, "SPREAD", 3)
    names = [f"{n:02}.jpg" for n in range(12)]
    write_coco(tmp_path, {"train": {key: [STORED] for key in names}}, ["cat"])
    save(tmp_path / "images" / "train" / "05.jpg", 5, turned)
    missed = read_dataset(tmp_path)
    assert missed.decode(4).shape == (60, 80, 3)
    with pytest.raises(
        DataError, match=r"05\.jpg: EXIF turns it, but its size .* --set exif=boxes .* exif=apply where"
    ):
        missed.decode(5)
    asked = read_dataset(tmp_path, exif="boxes")
    assert asked.decode(5).shape == (80, 60, 3)
    assert tuple(asked.target(5).boxes[0].round(3).tolist()) == UPRIGHT[turned]
    assert asked.left_out.turned == 1
    upright = read_dataset(tmp_path, exif="apply")
    assert (upright.decode(5).shape, tuple(upright.sizes[5])) == ((80, 60, 3), (80, 60))
    file = tmp_path / "annotations" / "instances_train.json"
    content = json.loads(file.read_text())
    content["images"][5] |= {"height": 80, "width": 60}
    file.write_text(json.dumps(content))
    assert read_dataset(tmp_path).decode(5).shape == (80, 60, 3)


def test_no_header_is_read_where_both_options_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(pictures, "_try_header", fail)
    write_voc(tmp_path, {"a": [STORED]})
    assert len(read_dataset(tmp_path, exif="apply", depth_range="image")) == 1


def test_a_range_close_to_its_numbers_keeps_their_digits() -> None:
    limits = span(np.array([[1000000.25, 1000000.5]]))
    assert limits is not None
    assert pictures._as_text(limits) == "1000000.25,1000000.5"
    assert pictures._as_text((0.0, 4095.0)) == "0,4095"
