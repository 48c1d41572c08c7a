"""Targets and anchors that no file should hold: without area, not finite, far beyond any image.

Where targets aren't looked at (CUDA, torch.compile; here by a patch) the unsound ones are never matched.
"""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright import anchors as named
from boxwright._util import checks
from boxwright.anchors import AnchorSpec, make_anchors
from boxwright.matching import best_anchors, match_atss, match_iou, match_points, match_task_aligned
from boxwright.matching import iou as iou_rules
from boxwright.matching._common import prepare

ANCHORS = make_anchors(AnchorSpec.squares((8, 16), 2.0), 64)
GRIDS = {"squares": ANCHORS, "retinanet": make_anchors(named.RETINANET, 64), "ssd": make_anchors(named.SSD300, 300)}
SOUND = [[4.0, 4.0, 30.0, 28.0], [20.0, 24.0, 60.0, 50.0]]
UNSOUND = [
    [9.0, 9.0, 9.0, 30.0],
    [9.0, 9.0, 30.0, 9.0],
    [9.0, 9.0, 9.0, 9.0],
    [30.0, 30.0, 9.0, 9.0],
    [30.0, 9.0, 9.0, 30.0],
    [math.nan, 0.0, 10.0, 10.0],
    [0.0, 0.0, math.inf, 30.0],
    [-math.inf, -math.inf, math.inf, math.inf],
    [math.inf] * 4,
]
RULES = ["bipartite", "ties", "last", None]


def predicted(anchors, boxes, labels, **options):
    scores = torch.full((len(labels), len(anchors.boxes), 3), 0.5)
    return match_task_aligned(
        anchors, boxes, labels, scores=scores, predictions=anchors.boxes.expand(len(labels), -1, -1), **options
    )


def by_iou(force, sparse):
    def match(anchors, boxes, labels, **options):
        return match_iou(anchors if sparse else anchors.boxes, boxes, labels, force=force, **options)

    return match


MATCHERS = {
    **{f"iou {force} {'grid' if grid else 'dense'}": by_iou(force, grid) for force in RULES for grid in (True, False)},
    "atss": match_atss,
    "points": match_points,
    "task aligned": predicted,
}


@pytest.fixture
def unseen(monkeypatch):
    monkeypatch.setattr(checks, "is_visible", lambda _: False)


@pytest.fixture
def sparse(monkeypatch):
    monkeypatch.setattr(iou_rules, "_LEAST_ELEMENTS", 0)


@pytest.mark.parametrize("box", UNSOUND, ids=str)
@pytest.mark.parametrize("matcher", MATCHERS)
def test_an_unsound_target_is_never_matched(matcher, box, unseen, sparse):
    match = MATCHERS[matcher]
    with_it = match(ANCHORS, torch.tensor([[box, *SOUND]]), torch.tensor([[1, 0, 2]]))
    without = match(ANCHORS, torch.tensor([SOUND]), torch.tensor([[0, 2]]))
    assert (without.state == 1).any()
    assert torch.equal(with_it.state, without.state)
    assert torch.equal(with_it.iou, without.iou)
    positive = without.state == 1
    assert torch.equal(with_it.gt_index[positive], without.gt_index[positive] + 1)
    alone = match(ANCHORS, torch.tensor([[box]]), torch.tensor([[1]]))
    assert not any(field.any() for field in alone)
    ignored = match(
        ANCHORS, torch.tensor([[*SOUND, box]]), torch.tensor([[0, 2, 0]]), ignore=torch.tensor([[False, False, True]])
    )
    assert torch.equal(ignored.state == 1, positive)


@pytest.mark.parametrize("matcher", MATCHERS)
def test_an_unsound_target_is_named(matcher):
    match = MATCHERS[matcher]
    labels = torch.tensor([[-1, 0], [1, 2]])
    for box in UNSOUND:
        boxes = torch.tensor([[[math.nan] * 4, SOUND[0]], [SOUND[1], box]])  # padding may hold anything
        wanted = "with a width and a height" if all(map(math.isfinite, box)) else "of finite numbers"
        with pytest.raises(ValueError, match=rf"Expected target boxes {wanted} but got \[.*\] at image 1, box 1"):
            match(ANCHORS, boxes, labels)
    boxes = torch.tensor([[SOUND[0], SOUND[1]], [SOUND[1], SOUND[0]]])
    with pytest.raises(
        ValueError,
        match=r"Expected labels (of at least -1|in -1\.\.2) .*but got -2\.\.2, the first -2 at image 0, box 1",
    ):
        match(ANCHORS, boxes, torch.tensor([[0, -2], [1, 2]]))
    for dtype in (torch.int32, torch.uint8, torch.bool, torch.float32):
        with pytest.raises(ValueError, match="Expected labels int64 but got"):
            match(ANCHORS, boxes, labels.clamp(0, 1).to(dtype))


def test_task_aligned_knows_the_classes():
    boxes = torch.tensor([SOUND])
    with pytest.raises(
        ValueError, match=r"Expected labels in -1\.\.2 .* but got 0\.\.3, the first 3 at image 0, box 1"
    ):
        predicted(ANCHORS, boxes, torch.tensor([[0, 3]]))


def test_ignored_regions_may_lack_an_area_but_must_be_finite():
    ignore = torch.tensor([[False, True]])
    flat = match_iou(ANCHORS, torch.tensor([[SOUND[0], UNSOUND[0]]]), torch.tensor([[0, 0]]), ignore=ignore)
    assert torch.equal(flat.state, match_iou(ANCHORS, torch.tensor([SOUND[:1]]), torch.tensor([[0]])).state)
    with pytest.raises(ValueError, match=r"Expected target boxes of finite numbers .* at image 0, box 1"):
        match_iou(ANCHORS, torch.tensor([[SOUND[0], UNSOUND[6]]]), torch.tensor([[0, 0]]), ignore=ignore)


coordinate = st.sampled_from([0.0, 1e18, -1e18, 1e19, 1e25, -1e30, 2.0**127, -(2.0**127), 1e-30]) | st.floats(
    -100, 400, width=32
)
boxes_of = st.tuples(coordinate, coordinate, coordinate, coordinate).map(
    lambda b: [min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3])]
)


@settings(deadline=None, max_examples=30)
@given(boxes=st.lists(boxes_of, min_size=1, max_size=6), grid=st.sampled_from(sorted(GRIDS)))
@pytest.mark.parametrize("force", RULES)
def test_boxes_beyond_any_image_are_matched_alike_on_grids_and_densely(force, grid, boxes):
    anchors = GRIDS[grid]
    boxes = torch.tensor([boxes])
    labels = torch.where(checks.has_area(boxes), 0, -1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(iou_rules, "_LEAST_ELEMENTS", 0)
        sparse = match_iou(anchors, boxes, labels, force=force)
        best = best_anchors(anchors, boxes, labels)
    dense = match_iou(anchors.boxes, boxes, labels, force=force)
    assert all(torch.equal(a, b) for a, b in zip(sparse, dense, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(best, best_anchors(anchors.boxes, boxes, labels), strict=True))
    assert dense.iou.isfinite().all()
    if force == "bipartite":  # each has an anchor of its own, however far it lies
        assert set(dense.gt_index[dense.state == 1].tolist()) == set((labels[0] >= 0).nonzero().flatten().tolist())


@pytest.mark.parametrize("bad", [[math.nan] * 4, [0.0, 0.0, math.inf, 40.0], [-math.inf, 0.0, 40.0, 40.0]], ids=str)
@pytest.mark.parametrize("matcher", MATCHERS)
def test_an_anchor_that_is_not_finite_answers_for_nothing(matcher, bad, sparse):
    match = MATCHERS[matcher]
    boxes, labels = torch.tensor([[*SOUND, [900.0, 900.0, 950.0, 950.0]]]), torch.tensor([[0, 2, 1]])
    sound = match(ANCHORS, boxes, labels)
    for place in (0, int((sound.state[0] == 1).nonzero()[0])):
        changed = ANCHORS.boxes.clone()
        changed[place] = torch.tensor(bad)
        found = match(replace(ANCHORS, boxes=changed), boxes, labels)
        assert found.state[0, place] == 0
        assert found.iou.isfinite().all()
        if matcher in ("iou None grid", "iou None dense", "points", "task aligned"):  # no anchor depends on another
            assert torch.equal(found.state[0, place + 1 :], sound.state[0, place + 1 :])
    far = torch.tensor([[[900.0, 10.0, 950.0, 30.0]]])  # which the nearest finite anchor answers for
    assert match(replace(ANCHORS, boxes=changed), far, labels[:, :1]).state.sum() == ("bipartite" in matcher)
    everything = match_iou(changed, boxes, labels, positive=0.0, negative=0.0, force="last")
    assert (everything.state[0] == 1).sum() == len(changed) - 1


@pytest.mark.parametrize("grid", [True, False])
def test_a_target_far_out_has_the_anchor_with_the_nearest_center(grid, sparse):
    """Their distances are equal in float32, or beyond it."""
    for far, corner in ((1e12, (1, 1)), (-1e12, (0, 0))):
        boxes = torch.tensor([[[far, far, far + 1e6, far + 1e6]]])
        found = match_iou(ANCHORS if grid else ANCHORS.boxes, boxes, torch.tensor([[0]]))
        centers = ANCHORS.boxes[found.state[0] == 1].reshape(2, 2).mean(0)
        wanted = (ANCHORS.boxes[:, :2] + ANCHORS.boxes[:, 2:]) / 2
        assert centers.tolist() == (wanted.amax(0) if corner == (1, 1) else wanted.amin(0)).tolist()


def test_what_is_prepared_for_matching_is_finite(unseen):
    boxes = torch.tensor([[*SOUND, *UNSOUND]])
    _, prepared, real = prepare(ANCHORS, boxes, torch.zeros(boxes.shape[:2], dtype=torch.int64), None)
    assert prepared.isfinite().all()
    assert real[0].tolist() == [True] * len(SOUND) + [False] * len(UNSOUND)


def test_compiled_matching_looks_at_no_value():
    boxes, labels = torch.tensor([[UNSOUND[0], *SOUND, UNSOUND[5]]]), torch.tensor([[1, 0, 2, 1]])
    found = torch.compile(match_iou, backend="eager")(ANCHORS.boxes, boxes, labels)
    sound = match_iou(ANCHORS.boxes, torch.tensor([SOUND]), torch.tensor([[0, 2]]))
    assert torch.equal(found.state, sound.state)
    assert torch.equal(found.gt_index[found.state == 1], sound.gt_index[sound.state == 1] + 1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("images", "targets"), [(0, 0), (0, 2), (2, 0), (2, 2)])
@pytest.mark.parametrize("matcher", MATCHERS)
def test_nothing_to_match(matcher, images, targets):
    boxes = torch.tensor(SOUND)[:targets].expand(images, targets, 4)
    labels = torch.zeros(images, targets, dtype=torch.int64)
    found = MATCHERS[matcher](ANCHORS, boxes, labels)
    assert found.state.shape == found.gt_index.shape == found.iou.shape == (images, len(ANCHORS))
    if "dense" in matcher or matcher == "task aligned":
        without = replace(ANCHORS, boxes=torch.zeros(0, 4), regular=False)
        assert MATCHERS[matcher](without, boxes, labels).state.shape == (images, 0)
    assert best_anchors(torch.zeros(0, 4), boxes, labels)[1].shape == (images, targets)
