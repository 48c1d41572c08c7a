"""TIDE's errors: by hand, against the authors' package, and what must hold on any input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from coco_scenes import Scene, make_scene
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright.evaluate import (
    ERROR_TYPES,
    DetectionColumns,
    TargetColumns,
    detection_metrics,
    error_costs,
    error_types,
    match_detections,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "tide.npz"
CLASSIFICATION, LOCALIZATION, BOTH, DUPLICATE, BACKGROUND = range(5)


def golden_scenes() -> dict[str, dict[str, np.ndarray]]:
    scenes: dict[str, dict[str, np.ndarray]] = {}
    for key, value in np.load(GOLDEN).items():
        name, _, column = key.partition("/")
        scenes.setdefault(name, {})[column] = value
    return scenes


SCENES = golden_scenes()


def match_golden(scene: dict[str, np.ndarray]):
    """Its targets are rows of image, class, xywh and crowd; its detections of image, class, xywh and score."""
    targets, detections = scene["targets"], scene["detections"]
    images, classes = (int(max(targets[:, column].max(), detections[:, column].max())) + 1 for column in (0, 1))
    image, label = detections[:, :2].astype(np.int64).T
    columns = TargetColumns(
        image=targets[:, 0].astype(np.int64),
        label=targets[:, 1].astype(np.int64),
        xywh=targets[:, 2:6],
        area=targets[:, 4] * targets[:, 5],
        crowd=targets[:, 6] > 0,
        difficult=np.zeros(len(targets), np.bool_),
        image_rank=np.arange(images),
    )
    found = DetectionColumns(image, label, detections[:, 6], detections[:, 2:6])
    return match_detections(found, columns, classes, max_detections=10_000)


@pytest.mark.parametrize("name", SCENES)
def test_equal_to_tidecv(name):
    scene = SCENES[name]
    table = match_golden(scene)
    errors = error_types(table)
    kind = np.empty(len(errors.kind), np.int64)
    kind[table.detection] = errors.kind
    np.testing.assert_array_equal(kind, scene["kind"])
    np.testing.assert_array_equal(errors.missed, scene["missed"])
    costs = error_costs(table, errors)
    assert [cost.count for cost in costs.values()] == scene["counts"].tolist()
    losses = [cost.dap for cost in costs.values()]
    np.testing.assert_allclose(losses, scene["losses"][1:], rtol=0, atol=1e-9)
    # tidecv as it is reads precision at recalls that differ in the last bit: a bar or two of 101, if any
    np.testing.assert_allclose(losses, scene["plain"][1:], rtol=0, atol=2 / 101)


def test_golden_scenes_hold_every_error_and_crowds():
    assert np.all(np.min([scene["counts"] for scene in SCENES.values()], axis=0) >= 0)
    assert np.all(np.sum([scene["counts"] for scene in SCENES.values()], axis=0) > 20)
    assert sum((scene["kind"] == -1).sum() for name, scene in SCENES.items() if name.startswith("crowd")) > 20


def by_hand():
    """The example of docs/evaluation.md."""
    targets = [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10], [80, 0, 90, 10]]
    labels = [0, 0, 1, 0, 0]  # cat, cat, dog, cat, cat
    boxes = [
        [0, 0, 10, 10],  # .9 right
        [0, 0, 10, 9],  # .8 duplicate: IoU .9 with the same cat
        [20, 0, 30, 4],  # .7 localization: IoU .4 with the second cat
        [40, 0, 50, 10],  # .6 classification: the dog
        [40, 0, 50, 4],  # .5 both: IoU .4 with the dog
        [100, 0, 110, 10],  # .4 background
        [80, 0, 90, 10],  # .3 right
    ]
    prediction = {"boxes": boxes, "scores": [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3], "labels": [0] * 7}
    return detection_metrics([prediction], [{"boxes": targets, "labels": labels}], ["cat", "dog"])


def test_by_hand():
    """AP50 of the cats: of four, one is found at precision 1, two at 2/7. Recall 1/4 is reached by 26 of the 101
    recalls 0, .01, ... 1, recall 2/4 by 25 more. No dog is found: AP50 = (26 + 25 * 2/7) / 202."""
    table = by_hand()
    before = (26 + 25 * 2 / 7) / 101 / 2
    np.testing.assert_allclose(table.AP50, before)
    expected = {
        "classification": ((26 + 25 * 2 / 6) / 101 + 1, 1),  # one false cat less, and the dog is found
        "localization": ((26 + 25 * 2 / 3 + 25 * 3 / 7) / 101, 1),  # three of four, at 1, 2/3 and 3/7
        "both": ((26 + 25 * 2 / 6) / 101, 1),  # a false cat less
        "duplicate": ((26 + 25 * 2 / 6) / 101, 1),
        "background": ((26 + 25 * 2 / 6) / 101, 1),
        "missed": ((34 + 33 * 2 / 7) / 101, 1),  # two of three
        "false_positive": ((26 + 25) / 101, 5),
        "false_negative": ((51 + 50 * 2 / 7) / 101, 3),  # two of two; no dog is asked for, and none found
    }
    assert list(table.errors) == [*ERROR_TYPES, "false_positive", "false_negative"]
    for name, (after, count) in expected.items():
        assert table.errors[name].dap == pytest.approx(after / 2 - before), name
        assert table.errors[name].count == count, name
    errors = error_types(table.matches)
    assert errors.kind.tolist() == [-1, DUPLICATE, LOCALIZATION, CLASSIFICATION, BOTH, BACKGROUND, -1]
    assert errors.target.tolist() == [-1, 0, 1, 2, 2, -1, -1]
    assert errors.mendable.tolist() == [False, False, True, True, False, False, False]
    assert errors.missed.tolist() == [False, False, False, True, False]


@pytest.mark.parametrize("score", [0.55, 0.65, 0.75, 0.85, 0.95, [0.55, 0.95, 0.75]])
def test_a_score_leaves_out_what_is_below_it(score):
    """The same as a table without those detections, be it one score or one for each class."""
    scene = make_scene(3, images=8, targets=9, crowd=0.2, difficult=0.1, scores=40)
    detections, targets = scene.columns()
    by_class = np.broadcast_to(score, 3)
    whole = match_detections(detections, targets, 3)
    part = match_detections(detections.take(detections.score >= by_class[detections.label]), targets, 3)
    least = np.array(score) if isinstance(score, list) else score
    some, all_of_part = error_types(whole, score=least), error_types(part)
    kept = whole.score >= by_class[whole.label]
    np.testing.assert_array_equal(some.kind[kept], all_of_part.kind)
    assert np.all(some.kind[~kept] == -1)
    np.testing.assert_array_equal(some.missed, all_of_part.missed)
    assert error_costs(whole, some) == error_costs(part, all_of_part)


def reference(scene: Scene) -> tuple[list[int], set[int]]:
    """Kinds by detection and missed targets by row, slowly: the definitions, on COCO's matches at IoU .5."""
    detections, targets = scene.columns()
    table = match_detections(detections, targets, len(scene.classes))
    wanted = np.flatnonzero(~(targets.crowd | targets.difficult))
    found = {int(table.target[row, 0]) for row in range(len(table.score)) if table.true_positive[row, 0, 0]}
    kinds, pointed = [-1] * len(detections), set()
    for row, place in enumerate(table.detection.tolist()):
        if table.true_positive[row, 0, 0] or table.ignored[row, 0, 0]:
            continue
        mine = [t for t in wanted.tolist() if targets.image[t] == detections.image[place]]
        overlaps = {t: iou(detections.xywh[place], targets.xywh[t]) for t in mine}
        own = [t for t in mine if targets.label[t] == detections.label[place]]
        other = [t for t in mine if t not in own]
        best_own, best_other = (max([0.0, *(overlaps[t] for t in some)]) for some in (own, other))
        if 0.1 <= best_own <= 0.5:
            kinds[place] = LOCALIZATION
            pointed.add(next(t for t in own if overlaps[t] == best_own))
        elif best_other >= 0.5:
            kinds[place] = CLASSIFICATION
            pointed.add(next(t for t in other if overlaps[t] == best_other))
        elif best_own > 0.5:
            kinds[place] = DUPLICATE
        else:
            kinds[place] = BACKGROUND if best_other <= 0.1 else BOTH
    return kinds, set(wanted.tolist()) - found - pointed


def iou(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.minimum(a[:2] + a[2:], b[:2] + b[2:]) - np.maximum(a[:2], b[:2])
    common = float(np.prod(np.maximum(sides, 0)))
    return common / (a[2] * a[3] + b[2] * b[3] - common) if common else 0.0


@pytest.mark.parametrize("seed", range(12))
def test_equal_to_the_definitions(seed):
    """Ties, overlaps at a threshold, crowds, difficult targets, empty images, image ids out of order."""
    scene = make_scene(seed, images=6, targets=8, detections=20, crowd=0.2, difficult=0.2)
    detections, targets = scene.columns()
    table = match_detections(detections, targets, len(scene.classes))
    errors = error_types(table)
    kinds, missed = reference(scene)
    assert errors.kind.tolist() == [kinds[place] for place in table.detection]
    assert set(np.flatnonzero(errors.missed).tolist()) == missed


BOXES = st.tuples(*[st.integers(0, 6).map(float)] * 2, *[st.integers(0, 4).map(float)] * 2)
LABELS = st.integers(0, 1)


@given(
    st.lists(st.tuples(LABELS, BOXES, st.booleans(), st.booleans()), max_size=6),
    st.lists(st.tuples(LABELS, BOXES, st.integers(0, 3)), max_size=8),
)
@settings(deadline=None, max_examples=150)
def test_what_holds_on_any_input(targets, detections):
    """Boxes without an area, no targets, no detections: mending never costs anything, and nothing counts twice."""
    prediction = {
        "boxes": [[x, y, x + w, y + h] for _, (x, y, w, h), _ in detections],
        "scores": [score / 3 for *_, score in detections],
        "labels": [label for label, *_ in detections],
    }
    target = {
        "boxes": [[x, y, x + w, y + h] for _, (x, y, w, h), *_ in targets],
        "labels": [label for label, *_ in targets],
        "crowd": [crowd for *_, crowd, _ in targets],
        "difficult": [difficult for *_, difficult in targets],
    }
    table = detection_metrics([prediction], [target], ["a", "b"])
    costs = table.errors
    losses = np.array([cost.dap for cost in costs.values()])
    if not table.matches.counted[:, 0].any():
        assert np.isnan(losses).all()
        assert all(value["dAP"] is None for value in table.to_json()["errors"].values())
    else:
        assert losses.min() >= -1e-12
        assert losses.max() <= 1 - table.AP50 + 1e-12
    assert sum(costs[name].count for name in ERROR_TYPES[:-1]) == costs["false_positive"].count
    assert costs["missed"].count <= costs["false_negative"].count
    assert costs["false_negative"].count == int(table.matches.not_found(0.5).sum())


def test_other_thresholds():
    table = by_hand().matches
    errors = error_types(table, foreground=0.95, background=0.45)
    assert errors.kind.tolist() == [-1, LOCALIZATION, BACKGROUND, CLASSIFICATION, BACKGROUND, BACKGROUND, -1]
    with pytest.raises(ValueError, match=r"Expected an IoU of .* but got 0\.3"):
        error_types(table, foreground=0.3)
