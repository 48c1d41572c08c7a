"""Images that can't be looked at: told with the reason, nothing found in them, and none of their labels blamed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from label_scenes import CLASSES, IMAGES, write_scenes

import boxwright as bw
from boxwright.data import DIFFICULT
from boxwright.hardest.detect import detect
from boxwright.hardest.review import review_labels
from boxwright.models.detector import Detector
from boxwright.runs import Run
from dataset_builders import exif_with, write_picture

Damage = Callable[[Path], object]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def zero(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-300] + bytes(300))


DAMAGES: dict[str, Damage] = {
    "truncated": cut,
    "not copied to its end": zero,
    "empty": lambda path: path.write_bytes(b""),
    "no image": lambda path: path.write_text("broken"),
}


@pytest.fixture(scope="module")
def detector() -> Detector:
    return bw.create_detector(
        "lite320", 3, image_size=64, width=32, pretrained=False, freeze=0, freeze_depthwise=0, classes=CLASSES
    )


@pytest.fixture
def run(detector: Detector, tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    Run(tmp_path / "run").keep(detector)
    return tmp_path / "run"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_image_is_told_and_not_blamed(damage: str, run: Path, tmp_path: Path) -> None:
    dataset = write_scenes(tmp_path / "data")
    DAMAGES[damage](dataset.path(1))
    review = review_labels(tmp_path / "data", run, shown=12)
    assert list(review.witness.unseen) == [dataset.name(1)]
    assert review.witness.unseen[dataset.name(1)].startswith("not a readable image (")
    assert review.witness.labels == 8 * (IMAGES - 1)
    assert 1 not in review.suspects.image
    listed = json.loads(review.corrections.read_text())["corrections"]
    assert dataset.name(1) not in {item["image"] for item in listed}
    assert "1 image couldn&#x27;t be looked at" in review.page.read_text()


def test_what_training_leaves_out_for_its_turn_is_not_looked_at(detector: Detector, tmp_path: Path) -> None:
    """EXIF turns the picture, its size is annotated as stored, and reading, which looks at a few headers, missed it."""
    dataset = write_scenes(tmp_path)
    height, width = dataset.sizes[3].tolist()
    write_picture(dataset.path(3), 0, width=width, height=height, exif=exif_with(6))
    found, faults = detect(detector.eval(), dataset)
    assert list(faults) == [3]
    assert faults[3].startswith("EXIF turns it")
    assert 3 not in found.image
    _, faults = detect(detector, replace(dataset, pixels=replace(dataset.pixels, exif="apply")))
    assert not faults


def test_detections_are_those_of_prediction(
    detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many images are turned into columns at once."""
    dataset = write_scenes(tmp_path)
    monkeypatch.setattr("boxwright.hardest.detect._BLOCK", 5)
    steps: list[int] = []
    found, faults = detect(detector.eval(), dataset, steps.append)
    assert not faults
    assert steps == list(range(1, IMAGES + 1))
    for place in (0, 4, 5, IMAGES - 1):
        alone = detector.predict(dataset.path(place), score=0.001)[0]
        rows = found.image == place
        np.testing.assert_allclose(np.sort(found.score[rows]), np.sort(alone.scores.numpy()), atol=1e-5)
        assert rows.sum() == len(alone.scores)


def test_images_with_nothing_but_ignored_boxes_are_looked_at(run: Path, tmp_path: Path) -> None:
    dataset = write_scenes(tmp_path / "data")
    for file in (tmp_path / "data" / "Annotations").glob("*.xml"):
        marked = file.read_text().replace("<difficult>0", "<difficult>1")
        file.write_text(marked)
    assert (bw.read_dataset(tmp_path / "data", "train").code == DIFFICULT).all()
    review = review_labels(tmp_path / "data", run, shown=12)
    assert review.witness.labels == 0
    assert not review.witness.unseen
    assert not review.witness.doubt
    assert (review.suspects.box < 0).all()
    assert len(dataset) == IMAGES


def test_an_untrained_run_is_to_train_longer(run: Path, tmp_path: Path) -> None:
    write_scenes(tmp_path / "data")
    review = review_labels(tmp_path / "data", run, shown=12)
    assert review.witness.confirmed == 0
    assert f"Train longer first: the run finds 0 of {8 * IMAGES} labels" in review.page.read_text()
    assert review.likely.sum() == 0
