"""Thresholds by class against a search of every score, and what their intervals promise, by simulation."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
import pytest
from coco_scenes import make_scene
from hypothesis import given
from hypothesis import strategies as st

from boxwright.evaluate import MatchTable, MetricsTable, Thresholds, Wish, detection_metrics
from boxwright.evaluate import thresholds as module
from boxwright.evaluate.thresholds import between, read_wish, share_interval

BOX, AWAY = [10.0, 10.0, 50.0, 50.0], [200.0, 200.0, 250.0, 250.0]
Z = 1.959964


def measured(table: MetricsTable, default: float = 0.3) -> Thresholds:
    return Thresholds.of(table.matches, table.classes, split="val", default=default)


def shares(table: MatchTable, label: int | None, score: float) -> tuple[float, float]:
    """Precision and recall of the detections above a score, counted one by one."""
    right, wrong, objects = 0, 0, int(table.positives[:, 0].sum() if label is None else table.positives[label, 0])
    for row in range(len(table.score)):
        if table.score[row] > score and label in (None, table.label[row]):
            hit = table.true_positive[row, 0, 0]
            right += hit
            wrong += not (hit or table.ignored[row, 0, 0]) and table.rank[row] < table.max_detections
    return right / max(right + wrong, 1), right / objects


def f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def scored(*images: Sequence[tuple[float, bool]], label: int = 0, classes: Sequence[str] = ("a",)) -> MetricsTable:
    """Images with an object each, and detections of it: (score, right)."""
    targets = [{"boxes": [BOX], "labels": [label]} for _ in images]
    predictions = [
        {
            "boxes": [BOX if hit else AWAY for _, hit in found],
            "labels": [label] * len(found),
            "scores": [score for score, _ in found],
        }
        for found in images
    ]
    return detection_metrics(predictions, targets, classes)


@pytest.mark.parametrize("seed", range(4))
def test_against_every_score(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_OBJECTS", 1)
    scene = make_scene(seed, images=6, crowd=0.3)
    table = detection_metrics(*scene.columns(), scene.classes)
    thresholds, matches = measured(table), table.matches
    scores = [0.0, *np.unique(matches.score).tolist()]
    for label, name in [*enumerate(table.classes), (None, "")]:
        if label is not None and not matches.positives[label, 0]:
            continue
        points = [shares(matches, label, score) for score in scores]
        found = thresholds.all_classes if label is None else thresholds.classes[name]
        assert found.curve is not None
        assert (found.precision, found.recall) == pytest.approx(shares(matches, label, found.score), abs=1e-6)
        assert found.f1 == pytest.approx(max(f1(*point) for point in points), abs=1e-6)
        for wish in (Wish("precision", 0.7), Wish("precision", 1.0), Wish("recall", 0.4), Wish("recall", 1.0)):
            own, other = (0, 1) if wish.measure == "precision" else (1, 0)
            able = [point for point in points if point[own] >= wish.value]
            place = found.curve.reaching(wish)
            got = shares(matches, label, found.curve.score[place])
            assert got == pytest.approx((found.curve.precision[place], found.curve.recall[place]), abs=1e-6)
            if able:
                assert got[own] >= wish.value
                assert got[other] == pytest.approx(max(point[other] for point in able))
            else:
                assert got[own] == pytest.approx(max(point[own] for point in points))


def test_by_hand() -> None:
    """Ten objects; the detections by score: nine right, one wrong, the tenth right, another wrong."""
    outcomes = [(0.95 - 0.01 * k, True) for k in range(9)] + [(0.67, False), (0.6, True)]
    table = scored(*[[outcome] for outcome in outcomes if outcome[1]][:9], [(0.67, False), (0.6, True), (0.1, False)])
    (found,) = measured(table).classes.values()
    assert (found.score, found.source, found.objects) == (0.35, "class", 10)  # half-way to the next detection
    assert (found.precision, found.recall, found.f1) == pytest.approx((10 / 11, 1, 20 / 21), abs=1e-6)
    expected = measured(table).expected(Wish("precision", 0.95))["a"]
    assert (expected.score, expected.precision, expected.recall, expected.reached) == (0.77, 1.0, 0.9, True)
    assert measured(table).expected(Wish("recall", 0.3))["a"] == expected  # precision stays 1 up to there


def test_a_long_curve_is_thinned_to_hundredths_of_recall() -> None:
    random = np.random.default_rng(0)
    images = []
    for _ in range(1500):
        score = random.uniform(0.2, 1)
        images.append([(score, True), (random.uniform(0, 0.9) * score, False)])
    table = scored(*images)
    curve = measured(table).classes["a"].curve
    assert curve is not None
    assert 60 < len(curve.score) <= 103
    precision, recall, _ = table.precision_recall("a")
    for wish in np.linspace(0.6, 0.99, 14).tolist():
        place = curve.reaching(Wish("precision", wish))
        assert curve.precision[place] >= wish
        assert curve.recall[place] >= recall[precision >= wish].max() - 0.0101


def test_equal_scores_stay_together() -> None:
    table = scored(*[[(0.5, True)] for _ in range(10)], [(0.5, False)], [(0.5, False)])
    (found,) = measured(table).classes.values()
    assert (found.score, found.precision) == (0.25, pytest.approx(10 / 12, abs=1e-6))
    assert found.curve is not None
    assert len(found.curve.score) == 1
    assert not measured(table).expected(Wish("precision", 0.9))["a"].reached


def test_a_class_that_validation_tells_little_of_goes_by_all_classes_or_the_recipe() -> None:
    """Of "few" there are 9 objects, of "none" none; 9 in all are too few for everything."""
    often = [{"boxes": [BOX], "labels": [0], "scores": [0.8]} for _ in range(12)]
    few = [{"boxes": [BOX], "labels": [1], "scores": [0.2]} for _ in range(9)]
    classes = ("often", "few", "none", "unfound")
    unfound = [{"boxes": [AWAY], "labels": [3], "scores": [0.9]} for _ in range(11)]
    targets = [{"boxes": [BOX], "labels": each["labels"]} for each in (*often, *few, *unfound)]
    found = measured(detection_metrics([*often, *few, *unfound], targets, classes), default=0.31)
    together = found.all_classes
    assert (together.source, together.objects, together.score) == ("all classes", 32, 0.1)
    assert [each.source for each in found.classes.values()] == ["class", *["all classes"] * 3]
    assert found.scores == [0.4, 0.1, 0.1, 0.1]
    assert [each.objects for each in found.classes.values()] == [12, 9, 0, 11]
    wish = found.expected(Wish("recall", 0.3))
    assert wish["often"].source == "class"
    assert wish["few"] == wish["none"]
    assert wish["few"].source == "all classes"

    little = measured(detection_metrics(few, targets[12:21], classes), default=0.31)
    for told in (little, measured(detection_metrics([], [], classes), default=0.31)):
        assert told.scores == [0.31] * 4
        assert {each.source for each in (told.all_classes, *told.classes.values())} == {"recipe"}
        with pytest.raises(ValueError, match=r"a validation for recall 0.3 but got none with 10 objects"):
            told.expected(Wish("recall", 0.3))
    assert Thresholds.unmeasured(classes, 0.31).scores == [0.31] * 4


def test_one_image_has_no_intervals() -> None:
    boxes = [[60.0 * k, 10, 60 * k + 50, 60] for k in range(12)]
    target = {"boxes": boxes, "labels": [0] * 12}
    table = detection_metrics([{**target, "scores": np.linspace(0.9, 0.5, 12)}], [target], ["a"])
    (found,) = measured(table).classes.values()
    assert found.curve is not None
    assert found.curve.recall_interval[-1] == (None, None)
    assert found.curve.precision_interval[0] == (None, None)


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_number_between_two_is_short(first: float, second: float) -> None:
    low, high = sorted((first, second))
    middle = between(low, high)
    assert low <= middle <= high
    if high - low > 0.011:
        assert low < middle < high
        assert middle == round(middle, 2)


@pytest.mark.parametrize("text", ["precision", "precision=", "precision=0", "recall=1.01", "recall=-1", "f1=0.5",
                                  "precision=nan", "precision=1e-1", "=0.5", "recall=.5x", "recall=٠.٥"])  # fmt: skip
def test_what_is_no_wish(text: str) -> None:
    with pytest.raises(ValueError, match="Expected precision=P or recall=R, above 0 and up to 1, but got "):
        read_wish(text)


def test_wishes() -> None:
    assert read_wish("precision=.9") == Wish("precision", 0.9)
    assert read_wish("recall=1") == Wish("recall", 1.0)
    assert str(read_wish("recall=0.80")) == "recall 0.8"


def test_an_interval_of_boxes_apart_is_wilson_s() -> None:
    """By hand, of 200 boxes that vary as independent ones do; then of as many that come in equal fours."""
    share, count = 0.8, 200
    for alike in (1, 4):
        number = count / alike
        center = (share + Z**2 / (2 * number)) / (1 + Z**2 / number)
        reach = Z / (1 + Z**2 / number) * sqrt(share * (1 - share) / number + Z**2 / (4 * number**2))
        low, high = share_interval(share, count, share * (1 - share) / number, 10**9)
        assert (low, high) == pytest.approx((center - reach, center + reach), abs=1e-4)
    assert share_interval(share, count, 1e-9, 10**9) == share_interval(share, count, share * (1 - share) / count, 10**9)
    low, high = share_interval(1.0, 50, 0.0, 50)
    assert high == 1.0
    assert low == pytest.approx(50 / (50 + 2.0096**2), abs=1e-3)
    assert np.isnan(share_interval(0.8, 50, 0.0, 1)).all()


def test_the_variance_is_the_bootstrap_s() -> None:
    """Of recall: the interval's half width, against images drawn 4,000 times."""
    random = np.random.default_rng(0)
    sizes, ease = random.integers(1, 9, 300), random.beta(2, 1, 300)
    found = random.binomial(sizes, ease)
    draws = random.multinomial(300, np.full(300, 1 / 300), size=4000)
    error = ((draws @ found) / (draws @ sizes)).std()
    (share,), (interval,) = module._shares(found[None], sizes[None])
    assert share == pytest.approx(found.sum() / sizes.sum(), abs=1e-6)
    assert interval[0] is not None
    assert interval[1] is not None
    assert (interval[1] - interval[0]) / 2 == pytest.approx(1.968 * error, rel=0.05)


@pytest.mark.parametrize("images", [30, 80])
def test_what_is_expected_comes_true(images: int) -> None:
    """A world whose images are easy or hard, so that their boxes are alike; the score is chosen on the same images."""
    random = np.random.default_rng(images)

    def world(number: int) -> MetricsTable:
        ease, places = random.beta(3, 1, number), range(6)
        boxes = [[[60.0 * k, 10, 60 * k + 50, 60 if hit else 30] for k, hit in enumerate(row)]
                 for row in random.random((number, 6)) < ease[:, None]]  # fmt: skip
        right = np.array([[box[3] == 60 for box in row] for row in boxes])
        scores = np.clip(random.normal(0.35 + 0.3 * right, 0.15), 0.01, 0.99)
        objects = [[60.0 * k, 10, 60 * k + 50, 60] for k in places]
        targets = [{"boxes": objects, "labels": [0] * 6}] * number
        found = [{"boxes": row, "labels": [0] * 6, "scores": own} for row, own in zip(boxes, scores, strict=True)]
        return detection_metrics(found, targets, ["a"], iou_thresholds=[0.5])

    def curve_of(table: MetricsTable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return table.precision_recall("a")

    everything, held = curve_of(world(4000)), []
    for _ in range(150):
        curve = module._curve(world(images).matches, np.array([True]))
        assert curve is not None
        for place in (curve.best_f1(), curve.reaching(Wish("precision", 0.8)), curve.reaching(Wish("recall", 0.5))):
            last = int((everything[2] > curve.score[place]).sum()) - 1
            for truth, (low, high) in (
                (everything[0][last], curve.precision_interval[place]),
                (everything[1][last], curve.recall_interval[place]),
            ):
                assert low is not None
                assert high is not None
                held.append(low <= truth <= high)
    assert np.mean(held) > 0.91
