"""What a run's page says of its detections on a split: the sentence, the thresholds, the counts, the images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from boxwright.data import DetectionDataset, read_dataset
from boxwright.evaluate import ERROR_TYPES, MetricsTable, compare_tables, detection_metrics, error_types, slice_metrics
from boxwright.evaluate.thresholds import Thresholds
from boxwright.report import ReportData
from boxwright.runs import Run
from boxwright.runs.page import (
    Compared,
    Sliced,
    _by_image,
    _note,
    _opening,
    best_scores,
    counted_scores,
    headline,
    report_of,
)
from boxwright.runs.thresholds import write_thresholds
from dataset_builders import write_picture, write_voc
from tiny_runs import keep_tiny_run

CLASSES = ["cat", "dog"]


def metrics() -> MetricsTable:
    """The first image has everything, the second is right, the third empty."""
    predictions = [
        {
            "boxes": [[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 4], [40, 0, 50, 10], [90, 0, 99, 9], [60, 0, 70, 10]],
            "scores": [0.9, 0.8, 0.7, 0.6, 0.5, 0.1],
            "labels": [0, 0, 0, 0, 0, 0],
        },
        {"boxes": [[0, 0, 10, 10]], "scores": [0.4], "labels": [1]},
        {},
    ]
    targets = [
        {"boxes": [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]], "labels": [0, 0, 1, 0]},
        {"boxes": [[0, 0, 10, 10]], "labels": [1]},
        {},
    ]
    return detection_metrics(predictions, targets, CLASSES)


def by_image(score: float) -> tuple[np.ndarray, np.ndarray]:
    table = metrics().matches
    return _by_image(table, error_types(table, score=score))


def test_mistakes_by_image_are_those_from_the_shown_score() -> None:
    mistakes, hits = by_image(0.3)
    assert dict(zip(ERROR_TYPES, mistakes[0].tolist(), strict=True)) == {
        "classification": 1, "localization": 1, "both": 0, "duplicate": 1, "background": 1, "missed": 1,
    }  # fmt: skip
    assert mistakes[1:].sum() == 0
    assert hits.tolist() == [1, 1, 0]
    assert by_image(0.05)[0][0].sum() == 4
    assert by_image(0.45)[1].tolist() == [1, 0, 0]


def test_notes() -> None:
    assert _note(np.array([0, 2, 0, 0, 1, 3])) == "2 localization, 1 background, 3 missed"
    assert _note(np.zeros(6, np.int64)) == "all right"


def test_the_row_has_images_of_the_middle_and_the_worst() -> None:
    """Mistakes 0..6 and nothing at all: the worst are 6 and 5, 2 and 3 are of the middle of 0..4."""
    mistakes = np.array([3, 0, 6, 1, 5, 4, 2, 0])
    hits = np.array([1, 1, 1, 1, 1, 1, 1, 0])
    worst = np.argsort(-mistakes, kind="stable")[:6]
    places = _opening(worst, mistakes, hits).tolist()
    assert mistakes[places].tolist() == [2, 3, 6, 5]
    assert _opening(np.array([0]), mistakes[:1], hits[:1]).tolist() == [0]
    assert _opening(worst[:0], np.zeros(3, int), np.array([0, 1, 1])).tolist() == [1, 2]


def test_scores_of_the_best_f1_and_the_default_where_nothing_is_found() -> None:
    """The cats' best F1 is at .9 (1 of 3) or .1 (2 of 6, 3 asked for): 2/4 and 4/9."""
    assert best_scores(metrics(), 0.3).tolist() == [0.9, 0.4]
    wrong = [{"boxes": [[50, 50, 60, 60]], "scores": [0.9], "labels": [0]}]
    there = [{"boxes": [[0, 0, 10, 10]], "labels": [0]}]
    assert best_scores(detection_metrics(wrong, there, CLASSES), 0.3).tolist() == [0.3, 0.3]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> DetectionDataset:
    """Ten images of 96 x 96 with a cat and a dog each, of which the last can't be read."""
    names = [f"{place:02d}" for place in range(10)]
    objects = [("cat", 10, 12, 40, 50), ("dog", 50, 10, 70, 40)]
    root = tmp_path_factory.mktemp("data")
    write_voc(root, dict.fromkeys(names, objects), {"test": names})
    for seed, name in enumerate(names):
        write_picture(root / "JPEGImages" / f"{name}.jpg", seed)
    found = read_dataset(root, "test", classes=CLASSES)
    (root / "JPEGImages" / "09.jpg").write_bytes(b"")
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return keep_tiny_run(tmp_path_factory.mktemp("runs") / "run", CLASSES)


def detected(dataset: DetectionDataset, *, dogs: int) -> MetricsTable:
    """All cats, and the dogs of so many images; each image has a false cat of a lower score."""
    predictions = []
    for place in range(len(dataset)):
        boxes = [[10, 12, 40, 50], [70, 70, 90, 90], *([[50, 10, 70, 40]] if place < dogs else [])]
        labels = [0, 0, 1][: len(boxes)]
        predictions.append({"boxes": boxes, "scores": [0.9, 0.4, 0.8][: len(boxes)], "labels": labels})
    return detection_metrics(predictions, dataset, CLASSES)


def page(run: Run, dataset: DetectionDataset, metrics: MetricsTable, **more: object) -> ReportData:
    return report_of(run, run.recipe, {"commands": []}, dataset, metrics, **more)


def test_a_run_with_thresholds_is_counted_at_them(run: Run, dataset: DetectionDataset, tmp_path: Path) -> None:
    found = detected(dataset, dogs=4)
    kept = keep_tiny_run(tmp_path / "kept", CLASSES)
    least, said = counted_scores(kept, found, 0.3)
    assert (least.tolist(), "on these very images" in said) == (best_scores(found, 0.3).tolist(), True)
    told = Thresholds.of(detected(dataset, dogs=9).matches, CLASSES, split="val", default=0.3)
    write_thresholds(kept.thresholds_file, told)
    least, said = counted_scores(kept, found, 0.3)
    assert least.tolist() == told.scores != best_scores(found, 0.3).tolist()
    assert "best F1 on split val (thresholds.json)" in said
    write_thresholds(kept.thresholds_file, Thresholds.unmeasured(CLASSES, 0.3))
    assert "on these very images" in counted_scores(kept, found, 0.3)[1]


def test_the_sentence_names_the_weakest_class_and_the_greatest_loss(dataset: DetectionDataset) -> None:
    found = detected(dataset, dogs=4)
    low, high = found.intervals["AP"]
    assert headline(found, dataset) == (
        f"AP {found.AP:.3f} [{low:.3f}, {high:.3f}] on 10 test images: the weakest class is dog "
        f"({found.per_class['dog']['AP']:.3f}, 10 objects), and most is lost to missed objects "
        f"({found.errors['missed'].dap:.3f} of AP50)."
    )


def test_the_sentence_where_nothing_is_there_or_found(dataset: DetectionDataset) -> None:
    nothing = detection_metrics([{}] * 10, dataset, CLASSES)
    assert headline(nothing, dataset).endswith("on 10 test images: nothing was found.")
    empty = detection_metrics([{}] * 10, [{"boxes": [], "labels": []}] * 10, CLASSES)
    assert headline(empty, replace(dataset, split=None)) == (
        "No number is defined: nothing is there to find on 10 images."
    )


def test_the_sentence_of_one_class_without_a_mistake(dataset: DetectionDataset) -> None:
    there = [{"boxes": [[0, 0, 50, 50]], "labels": [0]}]
    found = detection_metrics([{**there[0], "scores": [0.9]}], there, ["cat"])
    assert headline(found, dataset) == "AP 1.000 on 10 test images."


def test_errors_matrix_table_and_pictures_count_the_same_detections(run: Run, dataset: DetectionDataset) -> None:
    """The false cats lie below the cats' threshold, .9: no dog's, .8, would leave them out."""
    data = page(run, dataset, detected(dataset, dogs=4))
    assert data.thresholds == {"cat": 0.9, "dog": 0.8}
    assert np.asarray(data.confusion).tolist() == [[10, 0, 0], [0, 4, 6], [0, 0, 0]]
    assert (data.errors["false_positive"].count, data.errors["false_negative"].count) == (0, 6)
    assert data.errors["background"].dap == 0
    assert {name: data.per_class["dog"][name] for name in ("score", "precision", "recall", "F1")} == pytest.approx(
        {"score": 0.8, "precision": 1.0, "recall": 0.4, "F1": 0.8 / 1.4}
    )
    missed = {picture.name: len(np.asarray(picture.missed)) for picture in data.worst}
    assert set(missed.values()) == {1}
    assert all(not np.any(picture.false) for picture in data.worst)


def test_an_image_that_cannot_be_read_is_left_out_of_the_pictures(run: Run, dataset: DetectionDataset) -> None:
    data = page(run, dataset, detected(dataset, dogs=9))
    assert [picture.name for picture in data.worst] == []
    assert "JPEGImages/09.jpg" not in [picture.name for picture in (*data.opening, *data.pictures)]
    assert data.opening


def test_slices_and_differences_are_handed_on(run: Run, dataset: DetectionDataset) -> None:
    first, second = detected(dataset, dogs=4), detected(dataset, dogs=9)
    parts = slice_metrics(first, ["a", "b"] * 5)
    compared = Compared("x", compare_tables({"x": first, "y": second}))
    data = page(run, dataset, first, sliced=Sliced("day|night", parts), compared=compared)
    assert data.sliced_by == "day|night"
    assert list(data.slices) == ["a", "b"]
    (found,) = data.comparisons.values()
    assert list(data.comparisons) == ["y less x"]
    assert [next(iter(family)) for family in found.families] == ["AP", "AP cat", "APs", "lost to classification"]
    assert {name for name, _ in found.images} <= {dataset.name(place) for place in range(10)}
