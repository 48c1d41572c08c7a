"""The made data are what their descriptions say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from boxwright.boxes import box_iou
from boxwright.demo_data import _load_glyphs, compose
from boxwright.reproduce.scenes import SCENES, SIDE, falling_shares, make_scenes, move_boxes


def read(folder: Path, split: str) -> dict:
    return json.loads((folder / "annotations" / f"instances_{split}.json").read_text())


def boxes(folder: Path, split: str) -> np.ndarray:
    return np.array([annotation["bbox"] for annotation in read(folder, split)["annotations"]])


def test_shares_fall() -> None:
    assert falling_shares(2)[:4] == (1, 1 / 4, 1 / 9, 1 / 16)
    assert len(falling_shares(1)) == 10


def test_the_tail_is_in_the_training_split_alone_and_is_made_once(tmp_path: Path) -> None:
    folder = make_scenes(tmp_path / "tail", "tail", 60, 60)
    counts = {
        split: np.bincount([a["category_id"] - 1 for a in read(folder, split)["annotations"]], minlength=10)
        for split in ("train", "val")
    }
    expected = np.array(falling_shares(2))
    train = counts["train"] / counts["train"].sum()
    assert abs(train - expected / expected.sum()).max() < 0.1
    assert counts["val"].min() > 5
    before = (folder / "images/train/train-0001.jpg").stat().st_mtime_ns
    make_scenes(folder, "tail", 60, 60)
    assert (folder / "images/train/train-0001.jpg").stat().st_mtime_ns == before


def test_a_stopped_making_is_made_again(tmp_path: Path) -> None:
    whole = make_scenes(tmp_path / "noise", "noise", 4, 2)
    expected = boxes(whole, "train")
    (whole / "annotations/made.json").unlink()
    assert (boxes(make_scenes(whole, "noise", 4, 2), "train") == expected).all()


def test_noise_moves_a_share_of_the_training_boxes(tmp_path: Path) -> None:
    plain, noisy = (make_scenes(tmp_path / name, name, 80, 4) for name in ("digits", "noise"))
    before, after = boxes(plain, "train"), boxes(noisy, "train")
    assert (boxes(plain, "val") == boxes(noisy, "val")).all()
    assert (before[:, 2:] == after[:, 2:]).all()
    moved = (before[:, :2] != after[:, :2]).any(axis=1)
    assert 0.12 < moved.mean() < 0.28
    shift = np.abs(after - before)[moved][:, :2] / before[moved][:, 2:]
    assert shift.max() < 0.3 + 1e-9
    assert np.median(shift) == pytest.approx(0.3)


def test_moved_boxes_stay_in_the_image(tmp_path: Path) -> None:
    corners = [[0, 0, 20, 20], [SIDE - 20, SIDE - 20, 20, 20], [0, 0, SIDE, SIDE]] * 20
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"annotations": [{"bbox": box} for box in corners]}))
    move_boxes(file, 1.0)
    found = np.array([annotation["bbox"] for annotation in json.loads(file.read_text())["annotations"]])
    assert found[:, :2].min() >= 0
    assert (found[:, :2] + found[:, 2:]).max() <= SIDE


def test_crowds_are_of_one_class_and_overlap() -> None:
    glyphs, labels = _load_glyphs()
    scenes = [compose(np.random.default_rng([1, i]), glyphs, labels, SIDE, SCENES["crowds"].layout) for i in range(12)]
    assert all(len(set(scene.labels.tolist())) == 1 for scene in scenes)
    assert len({scene.labels[0] for scene in scenes}) > 3
    hidden = total = 0
    for scene in scenes:
        iou = box_iou(*2 * (torch.from_numpy(scene.boxes).float(),)).fill_diagonal_(0)
        hidden, total = hidden + int((iou.max(1).values > 0.45).sum()), total + len(iou)
    assert 0.05 < hidden / total < 0.3


def test_one_digit_an_image_and_large_ones() -> None:
    glyphs, labels = _load_glyphs()
    rare = [compose(np.random.default_rng([1, i]), glyphs, labels, SIDE, SCENES["rare"].layout) for i in range(30)]
    assert max(len(scene.boxes) for scene in rare) == 1
    large = [compose(np.random.default_rng([1, i]), glyphs, labels, SIDE, SCENES["large"].layout) for i in range(30)]
    sides = np.concatenate([(scene.boxes[:, 2:] - scene.boxes[:, :2]).max(axis=1) for scene in large]) / SIDE
    assert sides.min() > 0.4
    assert sides.max() < 0.95
    assert sum(not len(scene.boxes) for scene in large) > 8
