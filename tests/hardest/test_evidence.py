"""What is seen where the labels are: the same however many images are looked at together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from label_scenes import IMAGES, detections, objects, write_scenes

from boxwright.data import CROWD, DetectionDataset
from boxwright.evaluate import to_targets
from boxwright.hardest import Suspects, evidence, rank_labels
from boxwright.hardest.evidence import collect_evidence


@pytest.fixture
def dataset(tmp_path: Path) -> DetectionDataset:
    """Image 0 lacks a label, image 2 has one twice, and image 4's are crowds."""
    there = write_scenes(tmp_path, {0: objects(0)[1:], 2: [*objects(2), objects(2)[0]]})
    crowds = slice(there.offsets[4], there.offsets[5])
    there.code[crowds] = CROWD
    return there


@pytest.mark.parametrize("at_once", [1, 5, 1000])
def test_parts_make_no_difference(dataset: DetectionDataset, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    found = detections()
    shuffled = found.take(np.random.default_rng(0).permutation(len(found)))
    whole = rank_labels(shuffled, dataset)
    monkeypatch.setattr(evidence, "_AT_ONCE", at_once)
    parts = rank_labels(shuffled, dataset)
    for name in Suspects.__slots__:
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_labels_that_are_found_are_counted(dataset: DetectionDataset) -> None:
    """All but the eight crowds and the lesser twin, by sure detections; none by doubtful ones."""
    targets = to_targets(dataset)
    found = collect_evidence(detections(), targets, 3)
    assert int(found.judged.sum()) == len(dataset.boxes) - 8
    assert found.confirmed == len(dataset.boxes) - 8 - 1
    nothing = detections().take(np.zeros(0, np.int64))
    assert collect_evidence(nothing, targets, 3).confirmed == 0


def test_an_image_that_was_not_seen_has_no_suspects(dataset: DetectionDataset) -> None:
    found = detections()
    seen = found.take(~np.isin(found.image, [2, 5]))
    suspects = rank_labels(seen, dataset, unseen={2: "cut off", 5: "empty"})
    assert set(suspects.image.tolist()) == set(range(IMAGES)) - {2, 4, 5}
    assert 2 in rank_labels(seen, dataset).image  # where nobody says so, it is blamed


def test_the_most_probable_are_enough(dataset: DetectionDataset) -> None:
    found = detections()
    doubtful = replace(found, score=np.random.default_rng(0).uniform(0.01, 0.9, len(found)))
    whole, first = rank_labels(doubtful, dataset), rank_labels(doubtful, dataset, most=3)
    assert len(first) == max(3, int((whole.score > 0.5).sum())) < len(whole)
    np.testing.assert_array_equal(first.score, whole.score[: len(first)])
