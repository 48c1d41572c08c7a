"""The page's script gives what the library gives for the same numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import CHROMIUM, _in_chromium, run_script
from inspect_builders import SSD_LIKE, small_recipe

from boxwright.data import DetectionDataset
from boxwright.data.decoded import Decoded
from boxwright.data.images import decode_image
from boxwright.data.loading import collate
from boxwright.inspect import Suggestion, examine, examples
from boxwright.inspect.examples import Examiner, Example
from boxwright.inspect.inspection import Inspection, _trained
from boxwright.inspect.losses import LEAST_IOU, Trained
from boxwright.inspect.payload import payload
from boxwright.matching import match_iou
from boxwright.mining import hard_negatives
from boxwright.models import build_detector

THRESHOLDS = [(0.5, 0.5), (0.5, 0.4), (0.35, 0.1), (0.1, 0.1), (0.7, 0.3), (1.0, 0.62)]
RATIOS = [0, 0.5, 1, 3, 6]
RULES = [
    "force=bipartite",
    "force=ties",
    "force=last",
    "force=null,strict=true",
    "positive=0.6,negative=0.3,force=ties",
]
STATES = """return given.images.map(packed => {
  const image = readImage(packed);
  return given.thresholds.map(([high, low]) => [...matchStates(image, high, low, given.strict)]);
});"""
MINED = """return given.images.map(packed => {
  const image = readImage(packed);
  return given.thresholds.map(([high, low]) => {
    const states = matchStates(image, high, low, given.strict);
    return given.ratios.map(ratio => {
      const mined = hardNegatives(image, states, ratio, given.least);
      return [[...mined.hard], mined.exact];
    });
  });
});"""


@pytest.fixture(scope="module")
def trained(dataset: DetectionDataset) -> Trained:
    torch.manual_seed(1)
    recipe = small_recipe(**SSD_LIKE, matcher="iou", image_size=160, classes=dataset.classes)
    return _trained(build_detector(recipe, pretrained=False), dataset)


def inspected(dataset: DetectionDataset, trained: Trained, **options: object) -> Inspection:
    """All images, with the losses of the untrained detector."""
    recipe = trained.detector.recipe.replace(**options)
    found = examine(dataset, recipe, trained.detector.anchors)
    shown = Examiner(dataset, recipe, found, trained).show(range(6))
    return Inspection(dataset, recipe, None, found, Suggestion("", ""), shown)


def targets_of(example: Example) -> dict[str, torch.Tensor]:
    return {
        "boxes": torch.from_numpy(example.boxes)[None],
        "labels": torch.from_numpy(example.labels)[None],
        "ignore": torch.from_numpy(example.ignore)[None],
    }


@pytest.mark.parametrize("rule", RULES)
def test_states_are_those_of_match_iou(dataset: DetectionDataset, trained: Trained, rule: str, tmp_path: Path) -> None:
    inspection = inspected(dataset, trained, matcher=f"iou:{rule}")
    strict, force = "strict" in rule, rule.partition("force=")[2].partition(",")[0]
    packed = payload(inspection)
    packed |= {"thresholds": THRESHOLDS, "strict": strict}
    answers = run_script(STATES, packed, tmp_path)
    positives = 0
    for example, states in zip(inspection.examples, answers, strict=True):
        for (high, low), given_states in zip(THRESHOLDS, states, strict=True):
            matches = match_iou(
                inspection.supervision.anchors,
                **targets_of(example),
                positive=high,
                negative=low,
                strict=strict,
                force=None if force == "null" else force,
            )
            state = matches.state[0]
            assert given_states == state[example.anchor].tolist()
            left_out = torch.ones_like(state, dtype=torch.bool)
            left_out[example.anchor] = False
            assert not (state[left_out] == 1).any()
            mine = (state == 1)[example.anchor]
            assert (example.roles.target[mine] == matches.gt_index[0][example.anchor][mine]).all()
            positives += int(mine.sum())
    assert positives > 200


@pytest.mark.parametrize("least", [0, 40])
@pytest.mark.parametrize("most", [100, 3])
def test_mining_is_that_of_hard_negatives_or_says_that_it_is_not(
    dataset: DetectionDataset, trained: Trained, least: int, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples, "_LEAST_NEGATIVES", most)
    if most < 100:
        monkeypatch.setattr(examples, "MOST_RATIO", 1.0)
    inspection = inspected(dataset, trained)
    packed = payload(inspection) | {"thresholds": THRESHOLDS, "strict": False, "ratios": RATIOS, "least": least}
    answers = run_script(MINED, packed, tmp_path)
    examiner = Examiner(dataset, inspection.recipe, inspection.supervision, trained)
    exact = inexact = 0
    for example, by_threshold in zip(inspection.examples, answers, strict=True):
        sample = examiner._sample(example.place, Decoded.whole(decode_image(dataset.path(example.place))))
        targets = collate([sample]).targets
        background = trained.costs(trained.see(sample), examiner._roles(targets)).background
        for (high, low), by_ratio in zip(THRESHOLDS, by_threshold, strict=True):
            state = match_iou(
                trained.detector.anchors, *targets[:2], positive=high, negative=low, ignore=targets.ignore
            ).state
            for ratio, (hard, is_exact) in zip(RATIOS, by_ratio, strict=True):
                mask = hard_negatives(background[None], state, ratio=ratio, min_negatives=least)[0] & (state[0] == 0)
                same = mask.sum() == sum(hard) and mask[example.anchor].tolist() == [bool(h) for h in hard]
                assert same or not is_exact
                exact, inexact = exact + is_exact, inexact + (not is_exact)
    if most == 100 or least == 0:
        assert exact > 100
    if most < 100:
        assert inexact > 10


@pytest.mark.parametrize("least", [0, 60])
def test_every_ratio_is_exact_at_the_recipe_s_thresholds(
    dataset: DetectionDataset, trained: Trained, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples, "_LEAST_NEGATIVES", 0)
    inspection = inspected(dataset, trained, miner=f"hard_negatives:min_negatives={least}")
    packed = payload(inspection) | {"thresholds": [(0.5, 0.5)], "strict": False, "ratios": RATIOS, "least": least}
    answers = run_script(MINED, packed, tmp_path)
    assert all(is_exact for (by_ratio,) in answers for _, is_exact in by_ratio)


def test_where_there_are_too_many_those_that_overlap_most_are_carried(
    dataset: DetectionDataset, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = inspected(dataset, trained)
    monkeypatch.setattr(examples, "MOST_NEAR", 40)
    after = inspected(dataset, trained)
    raised = 0
    for whole, part in zip(before.examples, after.examples, strict=True):
        raised += part.least > whole.least == LEAST_IOU
        assert part.least <= 0.5
        kept = set(part.anchor.tolist())
        near = whole.roles.fixed | (whole.roles.iou >= part.least)
        assert {a for a, shown in zip(whole.anchor.tolist(), near.tolist(), strict=True) if shown} <= kept
    assert raised
    assert sum(len(e.anchor) for e in after.examples) < sum(len(e.anchor) for e in before.examples)


def test_ties_go_to_the_earlier_anchor(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cases = []
    for _ in range(300):
        count = int(rng.integers(1, 13))
        losses, states = rng.choice([0.0, 0.5, 1.0, 2.5], count).tolist(), rng.integers(-1, 2, count).tolist()
        cases.append((losses, states, float(rng.choice([0, 0.5, 1, 1.5, 3])), int(rng.integers(0, 4))))
    body = """return given.map(([background, states, ratio, least]) =>
      [...hardNegatives({ background, left: null }, Int8Array.from(states), ratio, least).hard]);"""
    for (losses, states, ratio, least), hard in zip(cases, run_script(body, cases, tmp_path), strict=True):
        state = torch.tensor([states], dtype=torch.int8)
        mask = hard_negatives(torch.tensor([losses]), state, ratio=ratio, min_negatives=least) & (state == 0)
        assert mask[0].int().tolist() == hard


def test_kinds(tmp_path: Path) -> None:
    body = """return [...kindsOf({ score: [0.4, 0.5, 0, 0, 0] }, [1, 1, 0, 0, -1], [0, 0, 1, 0, 0])];"""
    assert run_script(body, None, tmp_path) == [1, 0, 2, 3, 4]
    for forces, kind in ((True, 1), (False, 0)):
        body = f"return [...kindsOf({{ fixed: [1, 0] }}, [1, 1], [0, 0], {json.dumps(forces)})];"
        assert run_script(body, None, tmp_path) == [kind, 0]


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_chromium_runs_the_script_as_node_does(tmp_path: Path) -> None:
    program = "const result = [...hardNegatives({ background: [3, 1, 2], left: null }, [0, 1, 0], 1, 0).hard];"
    assert _in_chromium(program, tmp_path) == "[1,0,0]"


def test_a_close_up_holds_the_boxes_in_the_picture_s_shape(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    corners = np.sort(rng.uniform((0, 0), (640, 480), (200, 2, 2)), axis=1).reshape(-1, 4).tolist()
    views = run_script("return given.map(box => closeUp([box], 640, 480));", corners, tmp_path)
    for (x0, y0, x1, y1), view in zip(corners, views, strict=True):
        width, height = 640 / view["scale"], 480 / view["scale"]
        assert 1 <= view["scale"] <= 16
        assert -1e-9 <= view["x"] <= x0 + 1e-9
        assert -1e-9 <= view["y"] <= y0 + 1e-9
        assert x1 <= view["x"] + width + 1e-9 <= 640 + 1e-6
        assert y1 <= view["y"] + height + 1e-9 <= 480 + 1e-6


def test_the_best_anchor_is_the_strongest(tmp_path: Path) -> None:
    body = "return given.map(strengths);"
    assert run_script(body, [[0.5, 0.75, 1.0], [0.4], [0.6, 0.6], []], tmp_path) == [[0, 0.5, 1], [1], [1, 1], []]
