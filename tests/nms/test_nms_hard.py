"""Greedy NMS and cluster-NMS. Golden results: torchvision's batched_nms (tv), and greedy suppression in plain loops."""

import math
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from boxwright.boxes import box_iou
from boxwright.nms import NmsKind, batched_nms, cluster_nms, soft_nms, suppress
from boxwright.nms._candidates import close_pairs

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "nms.npz")
BOXES, SCORES, CLASSES = (torch.from_numpy(GOLDEN[key]) for key in ("boxes", "scores", "classes"))
both = pytest.mark.parametrize("nms", [batched_nms, cluster_nms])
each_kind = pytest.mark.parametrize("kind", ["iou", "diou"])


def greedy(boxes, scores, labels, threshold, kind):
    overlap = box_iou(boxes, boxes, kind).tolist()
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):  # stable: the lower index first
        if all(labels[i] != labels[k] or overlap[k][i] <= threshold for k in kept):
            kept.append(i)
    return kept


TALLER = [
    [79.17970275878906, 46.83543014526367, 89.0274429321289, 60.0394287109375],
    [79.17970275878906, 46.83543014526367, 89.0274429321289, 58.30813980102539],
]
WIDER = [
    [57.033687591552734, 184.41650390625, 134.12571716308594, 208.19581604003906],
    [94.17536926269531, 184.41650390625, 134.12571716308594, 208.19581604003906],
]


@pytest.mark.parametrize("pair", [TALLER, WIDER])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("others", [0, 700])
def test_an_overlap_just_above_the_threshold_is_found(others, transposed, pair):
    """By rounding the shared side is no longer than the share that it must have at least: the search has slack."""
    boxes = torch.tensor(pair)
    far = torch.arange(float(others))[:, None] * 200 + torch.tensor([1000.0, 1000.0, 1010.0, 1010.0])
    order = torch.tensor([1, 0, 3, 2] if transposed else [0, 1, 2, 3])
    boxes = torch.cat([boxes[:1], far, boxes[1:]])[:, order]
    overlap = box_iou(boxes[:1], boxes[-1:]).item()
    threshold = np.nextafter(np.float32(overlap), np.float32(0)).item()
    scores, labels = torch.linspace(0.9, 0.1, len(boxes)), torch.zeros(len(boxes), dtype=torch.int64)
    assert len(boxes) - 1 not in cluster_nms(boxes, scores, labels, threshold)
    assert len(boxes) - 1 in cluster_nms(boxes, scores, labels, overlap)
    lowered = soft_nms(boxes, scores, labels, "linear", iou=threshold, min_score=0.0)
    assert lowered[1].min() < 0.05  # from 0.1


@pytest.mark.parametrize("bad", [[math.nan] * 4, [0.0, 0.0, math.inf, 10.0], [-math.inf, 0.0, 5.0, 5.0]], ids=str)
@pytest.mark.parametrize("kind", get_args(NmsKind))
@pytest.mark.parametrize("count", [5, 300, 900])
def test_a_box_that_is_not_finite_is_dropped_and_acts_on_no_other(kind, bad, count):
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(count, 2, generator=generator) * 100
    boxes = torch.cat([corners, corners + 20], 1)
    scores = torch.rand(count, generator=generator)
    labels = torch.randint(0, 3, (count,), generator=generator)
    for place, score in ((0, 0.99), (count, 0.0), (count // 2, 0.5)):
        mixed = [
            torch.cat([values[:place], torch.tensor([one], dtype=values.dtype), values[place:]])
            for values, one in ((boxes, bad), (scores, score), (labels, 1))
        ]
        for agnostic in (False, True):
            found, left = suppress(*mixed, kind=kind, agnostic=agnostic)
            wanted, wanted_left = suppress(boxes, scores, labels, kind=kind, agnostic=agnostic)
            assert torch.equal(found - (found > place).long(), wanted)
            assert torch.equal(left, wanted_left)
    assert suppress(torch.tensor([bad]), torch.tensor([0.5]), torch.tensor([0]), kind=kind)[0].tolist() == []


@pytest.mark.parametrize("kind", get_args(NmsKind))
def test_a_score_that_is_no_number_drops_its_box_and_huge_boxes_move_no_class(kind):
    box = [0.0, 0, 10, 10]
    boxes = torch.tensor([box, [1.0, 0, 11, 10], box, [1e18, 1e18, 2e18, 2e18], box])
    scores, labels = torch.tensor([math.nan, 0.9, 0.8, 0.95, 0.7]), torch.tensor([0, 0, 1, 2, 1])
    for huge in ([1e18, 1e18, 2e18, 2e18], [-(2.0**127), 0.0, 2.0**127, 5.0]):
        boxes[3] = torch.tensor(huge)
        kept, left = suppress(boxes, scores, labels, kind=kind)
        assert kept[:3].tolist() == [3, 1, 2]
        assert 4 not in kept or left[3] < 0.1  # suppressed by its equal


@both
@each_kind
def test_keeps_by_falling_score_within_classes(nms, kind):
    boxes = torch.tensor([[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [50, 50, 60, 60]]).float()
    scores, labels = torch.tensor([0.5, 0.9, 0.4, 0.95]), torch.tensor([0, 0, 1, 0])
    assert nms(boxes, scores, labels, 0.5, kind).tolist() == [3, 1, 2]
    assert nms(boxes, scores, labels, 0.5, kind, agnostic=True).tolist() == [3, 1]
    for agnostic in (False, True):
        assert nms(boxes[:0], scores[:0], labels[:0], 0.5, kind, agnostic=agnostic).tolist() == []


@both
@pytest.mark.parametrize("threshold", GOLDEN["thresholds"].tolist())
def test_golden(nms, threshold):
    one_class = torch.zeros_like(CLASSES)
    for labels, options, key in [
        (one_class, {}, "greedy"),
        (one_class, {}, "cluster_nms"),
        (CLASSES, {}, "tv_batched"),
        (one_class, {"kind": "diou"}, "diou_nms"),
        (one_class, {"kind": "diou", "beta": 0.9}, "diou_nms_beta0.9"),
        (one_class, {"kind": "diou", "beta": 0.6}, "diou_nms_beta0.6"),
        (CLASSES, {"agnostic": True}, "greedy"),
        (CLASSES, {"agnostic": True, "kind": "diou"}, "diou_nms"),
    ]:
        kept = nms(BOXES, SCORES, labels, threshold, **options)
        assert kept.tolist() == GOLDEN[f"{key}_{threshold:g}"].tolist()


@both
def test_golden_many_boxes(nms):
    boxes, scores, labels = (torch.from_numpy(GOLDEN[f"big_{key}"]) for key in ("boxes", "scores", "classes"))
    assert nms(boxes, scores, labels).tolist() == GOLDEN["big_tv_batched_0.5"].tolist()


@both
@each_kind
def test_golden_edges(nms, kind):
    # IoU exactly at the threshold, tied scores, duplicates with and without area
    boxes, scores = torch.from_numpy(GOLDEN["edge_boxes"]), torch.from_numpy(GOLDEN["edge_scores"])
    kept = nms(boxes, scores, torch.zeros(len(boxes), dtype=torch.int64), 0.5, kind)
    assert kept.tolist() == GOLDEN["edge_tv_0.5"].tolist()


@both
@each_kind
def test_classes_never_suppress_one_another(nms, kind):
    # Negative coordinates make the usual offset by the largest coordinate bring the two classes together.
    boxes, scores, labels = (torch.from_numpy(GOLDEN[f"collide_{key}"]) for key in ("boxes", "scores", "classes"))
    assert len(GOLDEN["collide_tv_batched_0.5"]) == 1
    assert nms(boxes, scores, labels, kind=kind).tolist() == [0, 1]
    same = torch.tensor([[0.0, 0.0, 1e5, 1e5]]).repeat(80, 1)
    assert len(nms(same, torch.rand(80), torch.arange(80), kind=kind)) == 80


@both
def test_many_classes_round_no_coordinate(nms):
    # The pair of the last class overlaps by a bit less than 0.5: offsets in float32 would round it away.
    boxes = torch.tensor([[0.0, 0.0, 3000.0, 1.0], [1000.06, 0.0, 4000.0, 1.0]])
    overlap = box_iou(boxes[:1], boxes[1:]).item()
    labels = torch.tensor([9999, 9999])
    for threshold in (overlap - 1e-6, overlap + 1e-6):
        expected = [0] if overlap > threshold else [0, 1]
        assert nms(boxes, torch.tensor([0.9, 0.8]), labels, threshold).tolist() == expected


coordinates = st.tuples(*[st.integers(-4, 4)] * 2, *[st.integers(-1, 4)] * 2)  # sides below 0: inverted corners
candidates = st.lists(
    st.tuples(coordinates.map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]), st.integers(0, 5), st.integers(0, 1)),
    min_size=1,
    max_size=25,
)


@both
@each_kind
@settings(deadline=None, max_examples=30)
@given(found=candidates, threshold=st.sampled_from([0.0, 0.31, 0.5, 1.0]))  # no overlap is rounded to one of them
def test_equals_plain_loops(nms, kind, found, threshold):
    boxes = torch.tensor([box for box, _, _ in found]).float()
    scores, labels = torch.tensor([s for _, s, _ in found]) / 5, torch.tensor([label for _, _, label in found])
    expected = greedy(boxes, scores.tolist(), labels.tolist(), threshold, kind)
    assert nms(boxes, scores, labels, threshold, kind).tolist() == expected


@both
@each_kind
@pytest.mark.parametrize("classes", [1, 7])
@pytest.mark.parametrize("threshold", [0.0, 0.4, 0.8])
def test_a_crowd_equals_plain_loops(nms, kind, classes, threshold):
    generator = torch.Generator().manual_seed(classes)
    objects = torch.rand(25, 2, generator=generator) * 300 - 150
    owner = torch.randint(25, (600,), generator=generator)
    centers = objects[owner] + 8 * torch.randn(600, 2, generator=generator)
    sides = torch.exp(3.5 + 0.4 * torch.randn(600, 2, generator=generator))
    boxes = torch.cat([centers - sides / 2, centers + sides / 2], dim=1)
    scores, labels = torch.rand(600, generator=generator), owner % classes
    expected = greedy(boxes, scores.tolist(), labels.tolist(), threshold, kind)
    assert nms(boxes, scores, labels, threshold, kind).tolist() == expected


@pytest.mark.parametrize("classes", [3, 60])
def test_many_boxes_of_many_classes_equal_plain_loops(classes):
    """Above a thousand boxes the classes are looked at one after another."""
    generator = torch.Generator().manual_seed(classes)
    corners = torch.rand(1200, 2, generator=generator) * 150 - 75
    boxes = torch.cat([corners, corners + 20 + 30 * torch.rand(1200, 2, generator=generator)], dim=1)
    scores = torch.randint(100, (1200,), generator=generator) / 100  # many are equal
    labels = torch.randint(-1, classes, (1200,), generator=generator)
    expected = greedy(boxes.double(), scores.tolist(), labels.tolist(), 0.4, "iou")
    assert batched_nms(boxes, scores, labels, 0.4).tolist() == expected


edges = st.one_of(st.integers(-6, 6).map(float), st.floats(-1e6, 1e6, width=32), st.sampled_from([1e7, 1e7 + 1, -1e15]))
sides = st.one_of(st.integers(-2, 6).map(float), st.floats(0, 1e3, width=32))
any_boxes = st.lists(st.tuples(edges, edges, sides, sides, st.integers(-1, 2)), max_size=30)


@settings(deadline=None, max_examples=200)
@given(found=any_boxes, least=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
@example(found=[(1e7, 0.0, 1.0, 1.0, 0)] * 2, least=0.9)  # the reach is rounded to nothing
@example(found=[(0.0, 0.0, 1.0, 1.0, 0)] * 300, least=0.5)  # more than one block of rows
def test_the_search_misses_no_pair(found, least):
    boxes = torch.tensor([[x, y, x + w, y + h] for x, y, w, h, _ in found]).reshape(-1, 4)
    labels = torch.tensor([label for *_, label in found], dtype=torch.int64)
    first, second = close_pairs(boxes, labels, least)
    pairs = set(zip(first.tolist(), second.tolist(), strict=True))
    assert len(pairs) == len(first)
    assert all(a < b and labels[a] == labels[b] for a, b in pairs)
    overlapping = (box_iou(boxes, boxes) > least) & (labels[:, None] == labels)
    assert set(map(tuple, overlapping.triu(diagonal=1).nonzero().tolist())) <= pairs


def test_the_search_leaves_out_most_pairs_that_are_apart():
    left = 10 * torch.arange(1000.0)
    boxes = torch.stack([left, left * 0, left + 12, left * 0 + 12], dim=1)
    first, _ = close_pairs(boxes, torch.zeros(1000), 0.0)
    assert len(first) == 999


@both
@each_kind
def test_half_precision(nms, kind):
    boxes = (BOXES * 4).half()  # areas beyond float16's range
    assert (boxes[:, 2:] - boxes[:, :2]).prod(1).isinf().any()
    expected = nms(boxes.float(), SCORES, CLASSES, kind=kind)
    assert nms(boxes, SCORES, CLASSES, kind=kind).tolist() == expected.tolist()


@both
def test_errors(nms):
    with pytest.raises(ValueError, match=r"Expected an NMS kind out of .* but got 'giou'"):
        nms(BOXES, SCORES, CLASSES, kind="giou")
    with pytest.raises(ValueError, match=r"Expected an NMS threshold in 0\.\.1 but got 50"):
        nms(BOXES, SCORES, CLASSES, iou=50)
    with pytest.raises(ValueError, match=r"Expected boxes \(n, 4\), scores \(n,\) and labels \(n,\)"):
        nms(BOXES, SCORES[:3], CLASSES)
    for kind, beta in (("diou", 0.0), ("iou", 0.6)):
        with pytest.raises(ValueError, match=f"Expected a beta above 0, .* but got {beta} with '{kind}'"):
            nms(BOXES, SCORES, CLASSES, kind=kind, beta=beta)
