"""Errors planted under a nearly perfect detector come first, each under its own name; nothing breaks on nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from label_scenes import CLASSES, IMAGES, SIDE, detections, objects, write_scenes

from boxwright.data import CROWD, DIFFICULT, DetectionDataset
from boxwright.evaluate import DetectionColumns
from boxwright.hardest import KINDS, Suspects, rank_labels

NOTHING = DetectionColumns(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 4)))


@pytest.fixture
def planted(tmp_path: Path) -> DetectionDataset:
    """Image 0 lacks its first object, 1 has its first of another class, 2 and 3 it moved, 4 twice, 5 one too many."""
    changes = {image: objects(image) for image in range(6)}
    del changes[0][0]
    name, *box = changes[1][0]
    changes[1][0] = (CLASSES[(CLASSES.index(name) + 1) % 3], *box)
    for image in (2, 3):
        name, x1, y1, x2, y2 = changes[image][0]
        changes[image][0] = (name, x1 + 3, y1 + 3, x2 + 3, y2 + 3)
    name, x1, y1, x2, y2 = changes[4][0]
    changes[4].append((name, x1 + 1, y1, x2 + 1, y2))
    changes[5].append(("cat", 70.0, 47.0, 78.0, 58.0))
    return write_scenes(tmp_path, changes)


def first(suspects: Suspects, image: int) -> Suspects:
    return suspects.take(suspects.image == image).take(slice(1))


def test_planted_errors_come_first_under_their_names(planted: DetectionDataset) -> None:
    suspects = rank_labels(detections(), planted)
    assert len(suspects) == len(planted.boxes) + 1
    assert set(suspects.image[:6].tolist()) == {0, 1, 2, 3, 4, 5}
    names = [KINDS[first(suspects, image).kind[0]] for image in range(6)]
    assert names == ["missing", "wrong-class", "shifted", "shifted", "duplicate", "spurious"]
    assert (np.diff(suspects.score) <= 0).all()
    assert suspects.score[5] > suspects.score[6]


def test_suggestions_are_the_objects(planted: DetectionDataset) -> None:
    suspects = rank_labels(detections(), planted)
    for image in (0, 1, 2, 3):
        suspect = first(suspects, image)
        name, *box = objects(image)[0]
        assert CLASSES[suspect.suggested_label[0]] == name
        np.testing.assert_allclose(suspect.suggested_box[0], box, atol=0.5)
    assert first(suspects, 4).suggested_label[0] == first(suspects, 5).suggested_label[0] == -1
    assert first(suspects, 0).box[0] == -1
    assert first(suspects, 4).box[0] == planted.offsets[5] - 1  # the copy, which is farther from what was found


def test_scores_by_hand(planted: DetectionDataset) -> None:
    """A missing or a shifted box is at most as certain as its detection is right, a duplicate as the two overlap."""
    suspects = rank_labels(detections(), planted)
    right = suspects.take(suspects.image >= 6)
    assert first(suspects, 4).score[0] == pytest.approx((SIDE - 1) / (SIDE + 1), abs=1e-4)  # all but surely not there
    assert first(suspects, 4).overlap[0] == pytest.approx((SIDE - 1) / (SIDE + 1))
    assert 0.8 < first(suspects, 0).score[0] < 1
    assert 0.8 < first(suspects, 2).score[0] < 1
    assert right.score.max() < 0.5


def test_a_sharper_score_is_a_likelier_error(planted: DetectionDataset) -> None:
    surer = detections()
    doubtful = replace(surer, score=np.where((surer.image == 0) & (np.arange(len(surer)) == 0), 0.1, 0.9))
    scores = [first(rank_labels(found, planted), 0).score[0] for found in (surer, doubtful)]
    assert scores[1] < scores[0]


def test_right_labels_are_hardly_suspected(tmp_path: Path) -> None:
    suspects = rank_labels(detections(), write_scenes(tmp_path))
    assert len(suspects) == IMAGES * 8
    assert suspects.score.max() < 0.5


def test_a_second_detection_of_a_missing_object_counts_less(planted: DetectionDataset) -> None:
    found = detections()
    again = found.take(np.array([0]))
    again = replace(again, score=np.array([0.8]), xywh=again.xywh + np.array([1.0, 0, 0, 0]))
    both = DetectionColumns(
        *(np.concatenate([getattr(found, name), getattr(again, name)]) for name in ("image", "label", "score", "xywh"))
    )
    missing = rank_labels(both, planted)
    missing = missing.take(missing.box < 0)
    assert len(missing) == 2
    assert missing.score[1] < 0.25 * missing.score[0]
    assert missing.confidence.tolist() == [0.9, 0.8]


@pytest.mark.parametrize("code", [CROWD, DIFFICULT])
def test_ignored_labels_are_no_suspects_and_hide_what_is_on_them(tmp_path: Path, code: int) -> None:
    dataset = write_scenes(tmp_path)
    marked = replace(dataset, code=np.where(np.arange(len(dataset.code)) < 8, code, dataset.code).astype(np.uint8))
    suspects = rank_labels(detections(), marked)
    assert 0 not in suspects.image


def test_nothing_found(planted: DetectionDataset) -> None:
    suspects = rank_labels(NOTHING, planted)
    assert len(suspects) == len(planted.boxes)
    duplicate = suspects.kind == KINDS.index("duplicate")
    assert suspects.score[duplicate].max() == pytest.approx((SIDE - 1) / (SIDE + 1))
    assert suspects.score[~duplicate].max() < 1e-6  # it knows no class
    assert (suspects.kind[~duplicate] == KINDS.index("spurious")).all()


def test_nothing_labeled(tmp_path: Path) -> None:
    dataset = write_scenes(tmp_path, {image: [] for image in range(1, IMAGES)})
    dataset = dataset.subset(np.arange(1, IMAGES))
    found = detections()
    found = replace(found.take(found.image > 0), image=found.image[found.image > 0] - 1)
    suspects = rank_labels(found, dataset)
    assert len(suspects) == (IMAGES - 1) * 8
    assert (suspects.kind == 0).all()
    assert len(rank_labels(NOTHING, dataset)) == 0


def test_one_class(tmp_path: Path) -> None:
    dataset = write_scenes(tmp_path, {image: [("cat", *box[1:]) for box in objects(image)] for image in range(IMAGES)})
    found = detections()
    suspects = rank_labels(replace(found, label=np.zeros_like(found.label)), dataset)
    assert (suspects.kind != KINDS.index("wrong-class")).all()
    assert suspects.score.max() < 0.5


def test_another_number_of_images_or_classes_is_refused(planted: DetectionDataset) -> None:
    with pytest.raises(ValueError, match=f"predictions of {IMAGES} images but got 1"):
        rank_labels([{"boxes": [], "scores": [], "labels": []}], planted)
    found = detections()
    with pytest.raises(ValueError, match=r"labels of detections in 0\.\.2"):
        rank_labels(replace(found, label=found.label + 1), planted)
