"""The built-in digits: the same bytes from the same seed, boxes on the ink, and no sample in two splits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boxwright import demo_data
from boxwright.errors import DataError, WriteError

pytest.importorskip("sklearn", reason="the demo extra is not installed")

COUNTS = {"train": 8, "val": 3, "test": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo_data.make_digits(tmp_path_factory.mktemp("digits"), images=COUNTS, seed=3)


def read(folder: Path, split: str) -> dict:
    return json.loads((folder / "annotations" / f"instances_{split}.json").read_text())


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_same_seed_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = demo_data.make_digits(tmp_path / "again", images=COUNTS, seed=3)
    assert files(again) == files(folder)
    other = demo_data.make_digits(tmp_path / "other", images=COUNTS, seed=4)
    assert files(other)["images/train/train-0001.jpg"] != files(folder)["images/train/train-0001.jpg"]


def test_an_image_does_not_depend_on_how_many_follow(folder: Path, tmp_path: Path) -> None:
    fewer = demo_data.make_digits(tmp_path, images={"train": 2, "test": 1}, seed=3)
    jpegs = {name: content for name, content in files(fewer).items() if name.endswith(".jpg")}
    assert len(jpegs) == 3
    assert jpegs.items() <= files(folder).items()


@pytest.mark.parametrize("split", COUNTS)
def test_layout_is_coco(folder: Path, split: str) -> None:
    content = read(folder, split)
    assert len(content["images"]) == COUNTS[split]
    assert [category["name"] for category in content["categories"]] == list("0123456789")
    sizes = {}
    for image in content["images"]:
        with Image.open(folder / "images" / split / image["file_name"]) as file:
            assert file.size == (image["width"], image["height"]) == (192, 192)
        sizes[image["id"]] = (image["width"], image["height"])
    assert len({annotation["id"] for annotation in content["annotations"]}) == len(content["annotations"])
    for annotation in content["annotations"]:
        x, y, w, h = annotation["bbox"]
        width, height = sizes[annotation["image_id"]]
        assert 0 <= x < x + w <= width
        assert 0 <= y < y + h <= height
        assert annotation["area"] == w * h
        assert annotation["iscrowd"] == 0


def test_splits_share_no_handwritten_sample(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pools = []

    def spy(rng, glyphs, labels, size, layout):
        pools.append({glyph.tobytes() for glyph in glyphs})
        return demo_data.Scene(np.zeros((size, size, 3), np.uint8), np.zeros((0, 4)), np.zeros(0, np.int64))

    monkeypatch.setattr(demo_data, "compose", spy)
    demo_data.make_digits(tmp_path, images={"train": 1, "val": 1, "test": 1})
    train, val, test = pools
    assert min(len(train), len(val), len(test)) > 150
    assert len(train | val | test) == len(train) + len(val) + len(test)


def flat_scene(monkeypatch: pytest.MonkeyPatch, seed: int) -> demo_data.Scene:
    """A scene of white ink on plain black, so that the ink can be seen in the pixels."""
    monkeypatch.setattr(demo_data, "_background", lambda rng, size: np.zeros((size, size, 3), np.float32))
    monkeypatch.setattr(demo_data, "_ink", lambda rng, under: np.ones(3, np.float32))
    monkeypatch.setattr(demo_data, "_CLUTTER", (lambda rng, canvas, glyphs: None,))
    glyphs, labels = demo_data._load_glyphs()
    return demo_data.compose(np.random.default_rng(seed), glyphs, labels, 192)


@pytest.mark.parametrize("seed", range(6))
def test_boxes_are_tight_around_the_ink(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    scene = flat_scene(monkeypatch, seed)
    ink = scene.image.mean(axis=-1) > 100
    covered = np.zeros_like(ink)
    for x1, y1, x2, y2 in scene.boxes.astype(int):
        inside = ink[y1:y2, x1:x2]
        assert inside[0].any()
        assert inside[-1].any()
        assert inside[:, 0].any()
        assert inside[:, -1].any()
        covered[y1:y2, x1:x2] = True
    # a faint rim of anti-aliasing (or a speck cut off by an overlapping digit) may lie outside, no stroke
    assert (ink & ~covered).sum() <= 0.02 * max(1, ink.sum())


def test_digits_are_legible_and_some_images_empty() -> None:
    glyphs, labels = demo_data._load_glyphs()
    scenes = [demo_data.compose(np.random.default_rng([9, i]), glyphs, labels, 192) for i in range(60)]
    assert any(len(scene.boxes) == 0 for scene in scenes)
    boxes = np.concatenate([scene.boxes for scene in scenes])
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    assert sides.min() >= 14
    assert sides.max() <= 66
    assert set(np.concatenate([scene.labels for scene in scenes])) == set(range(10))


def test_a_digit_stays_visible_under_later_ones() -> None:
    owner = np.full((64, 64), -1)
    owner[20:40, 20:40] = 0
    mask = np.ones((62, 62), dtype=bool)  # would hide the first digit wherever it lies
    assert demo_data._free_place(np.random.default_rng(0), mask, owner, [400], 0.9) is None
    small = np.ones((5, 5), dtype=bool)  # hides 25 of 400 pixels at most
    assert demo_data._free_place(np.random.default_rng(0), small, owner, [400], 0.9) is not None


@pytest.mark.parametrize("ground", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_ink_stands_out(ground: float) -> None:
    under = np.full((8, 8, 3), ground, np.float32)
    for seed in range(20):
        luma = float(demo_data._ink(np.random.default_rng(seed), under) @ demo_data._LUMA)
        assert abs(luma - ground) >= 0.29


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="validation"):
        demo_data.make_digits(tmp_path, images={"validation": 2})
    with pytest.raises(DataError, match="32"):
        demo_data.make_digits(tmp_path, size=32)


@pytest.mark.parametrize("name", ["images/test/test-0001.jpg", "annotations/instances_test.json"])
def test_what_is_there_stays(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(WriteError, match="boxwright didn't write it"):
        demo_data.make_digits(tmp_path, images={"test": 1}, size=64)
    assert files(tmp_path) == {name: b"mine"}
    demo_data.make_digits(tmp_path, images={"test": 1}, size=64, overwrite=True)
    assert files(tmp_path)[name] != b"mine"


def test_the_demo_has_no_image_without_digits_and_names_that_read(tmp_path: Path) -> None:
    data = demo_data.make_digits(
        tmp_path, images={"train": 40}, size=64, layout=demo_data.Layout(empty=0), classes=demo_data.NAMES
    )
    content = json.loads((data / "annotations" / "instances_train.json").read_text(encoding="utf-8"))
    assert {each["image_id"] for each in content["annotations"]} == set(range(1, 41))
    assert [each["name"] for each in content["categories"]][:3] == ["zero", "one", "two"]
