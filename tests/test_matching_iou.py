"""Golden scenes: Caffe SSD's own bipartite rule (caffe), torchvision's SSDMatcher and Matcher (tv)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright import anchors as named
from boxwright._util.checks import has_area
from boxwright.anchors import AnchorSpec, make_anchors
from boxwright.boxes import box_iou, convert_boxes
from boxwright.matching import _common, best_anchors, match_iou

GOLDEN = np.load(Path(__file__).parent / "golden" / "match.npz")
GRID = make_anchors(AnchorSpec.squares(strides=(8, 16), scale=2.0), 48)  # 36 + 9 anchors
RULES = ["bipartite", "ties", "last", None]


def greedy(iou, centers, anchor_centers):
    """All pairs sorted by falling IoU, target, anchor; then by target index the free anchor with the nearest center."""
    pairs = sorted((-iou[t][a], t, a) for t in range(len(iou)) for a in range(len(iou[t])) if iou[t][a] > 0)
    anchor_of, taken = {}, set()
    for _, t, a in pairs:
        if t not in anchor_of and a not in taken:
            anchor_of[t] = a
            taken.add(a)
    for t in range(len(iou)):
        free = [a for a in range(len(anchor_centers)) if a not in taken]
        if t not in anchor_of and free:
            distance = ((anchor_centers[free] - centers[t]) ** 2).sum(1)
            anchor_of[t] = free[int(distance.argmin())]
            taken.add(anchor_of[t])
    return anchor_of


def reference(anchors, boxes, labels, ignore, positive, negative, strict, force):
    """The rules of match_iou for one image, anchor by anchor."""
    real = [g for g in range(len(labels)) if labels[g] >= 0 and not ignore[g]]
    iou = box_iou(boxes[real], anchors)
    gt_index, state, best = [0] * len(anchors), [0] * len(anchors), [0.0] * len(anchors)
    for a in range(len(anchors)):
        value, row = (iou[:, a].max().item(), int(iou[:, a].argmax())) if real else (0.0, 0)
        if real and value >= negative:
            gt_index[a], best[a] = real[row], value
        state[a] = 1 if real and (value > positive if strict else value >= positive) else 0 if value < negative else -1
    forced = {}
    if real and force == "bipartite":
        center = (boxes[real][:, :2] + boxes[real][:, 2:]) / 2, (anchors[:, :2] + anchors[:, 2:]) / 2
        forced = {a: t for t, a in greedy(iou.tolist(), *center).items()}
    elif real and force == "last":
        forced = {int(iou[t].argmax()): t for t in range(len(real))}
    elif real and force == "ties":
        top = iou.max(dim=1).values
        forced = {a: int(iou[:, a].argmax()) for t in range(len(real)) for a in range(len(anchors))
                  if top[t] > 0 and iou[t, a] == top[t]}  # fmt: skip
    for a, t in forced.items():
        gt_index[a], state[a], best[a] = real[t], 1, iou[t, a].item()
    return gt_index, state, best


def coarse_boxes(draw_count):
    """Boxes on a coarse lattice, so that ties and conflicts are common; some lie outside of every anchor."""
    number = st.integers(-2, 8).map(lambda n: n * 8.0)
    side = st.sampled_from([0.0, 4.0, 8.0, 16.0, 24.0])
    box = st.tuples(number, number, side, side).map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]])
    return st.lists(box, min_size=draw_count, max_size=draw_count)


scenes = st.integers(1, 12).flatmap(
    lambda count: st.tuples(
        coarse_boxes(2 * count),
        st.lists(st.integers(-1, 2), min_size=2 * count, max_size=2 * count),
        st.lists(st.booleans(), min_size=2 * count, max_size=2 * count),
    )
)


def tensors(scene):
    boxes, labels, ignore = scene
    count = len(labels) // 2
    labels, ignore = torch.tensor(labels).reshape(2, count), torch.tensor(ignore).reshape(2, count)
    boxes = torch.tensor(boxes).reshape(2, count, 4)
    return boxes, torch.where(has_area(boxes), labels, -1), ignore & (labels == 0)


@settings(deadline=None, max_examples=30)
@given(
    scene=scenes,
    thresholds=st.sampled_from([(0.5, 0.5), (0.7, 0.3), (0.5, 0.4), (0.25, 0.25)]),
    strict=st.booleans(),
)
@pytest.mark.parametrize("force", RULES)
def test_equals_the_rules_read_one_by_one(force, scene, thresholds, strict):
    boxes, labels, ignore = tensors(scene)
    positive, negative = thresholds
    options = {"positive": positive, "negative": negative, "strict": strict, "force": force}
    matches = match_iou(GRID, boxes, labels, ignore=ignore, ignore_ioa=2.0, **options)
    for image in range(2):
        expected = reference(GRID.boxes, boxes[image], labels[image], ignore[image], **options)
        assert matches.gt_index[image].tolist() == expected[0]
        assert matches.state[image].tolist() == expected[1]
        assert matches.iou[image].tolist() == expected[2]


@settings(deadline=None, max_examples=10)
@given(scene=scenes)
@pytest.mark.parametrize("force", RULES)
def test_block_size_changes_no_bit(force, scene):
    boxes, labels, ignore = tensors(scene)
    whole = match_iou(GRID, boxes, labels, ignore=ignore, force=force, positive=0.4, negative=0.0)
    for elements in (1, 50, 333):
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(_common.BLOCK_ELEMENTS, "cpu", elements)
            blocks = match_iou(GRID, boxes, labels, ignore=ignore, force=force, positive=0.4, negative=0.0)
        assert all(torch.equal(a, b) for a, b in zip(whole, blocks, strict=True))


@settings(deadline=None, max_examples=30)
@given(scene=scenes)
def test_bipartite_gives_every_target_an_anchor(scene):
    boxes, labels, ignore = tensors(scene)
    matches = match_iou(GRID, boxes, labels, ignore=ignore)
    for image in range(2):
        owners = set(matches.gt_index[image][matches.state[image] == 1].tolist())
        assert owners == set(((labels[image] >= 0) & ~ignore[image]).nonzero().flatten().tolist())


def test_bipartite_with_more_targets_than_anchors():
    anchors = GRID.boxes[:3]
    boxes = torch.tensor([[0.0, 0.0, 8.0, 8.0], [100.0, 0.0, 108.0, 8.0], [0.0, 0.0, 8.0, 8.0], [4.0, 0.0, 12.0, 8.0]])
    matches = match_iou(
        anchors, boxes.repeat(1, 5, 1), torch.zeros(1, 20, dtype=torch.int64), positive=0.9, negative=0.9
    )
    assert matches.state.tolist() == [[1, 1, 1]]
    assert len(set(matches.gt_index[0].tolist())) == 3


def test_long_chain_of_conflicts():
    # Each target prefers the anchor that its predecessor takes, so every round settles one.
    anchors = torch.tensor([[10.0 * i, 0.0, 10.0 * i + 10, 10.0] for i in range(30)])
    boxes = torch.stack(
        [anchors[:, 0] - 4 + 0.05 * torch.arange(30), anchors[:, 1], anchors[:, 2] - 4, anchors[:, 3]], 1
    )
    matches = match_iou(anchors, boxes[None], torch.zeros(1, 30, dtype=torch.int64), positive=0.99, negative=0.99)
    expected = greedy(box_iou(boxes, anchors).tolist(), boxes[:, :2], anchors[:, :2])
    assert {int(t): a for a, t in enumerate(matches.gt_index[0])} == expected


def test_two_targets_with_one_best_anchor_both_get_one():
    # IoU [[.9, .1], [.8, .2]]-like: the naive rules leave the first target without any.
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0], [9.0, 0.0, 19.0, 10.0]])
    boxes = torch.tensor([[[0.0, 0.0, 10.0, 9.0], [1.0, 0.0, 11.0, 10.0]]])
    labels = torch.tensor([[0, 1]])
    assert match_iou(anchors, boxes, labels).gt_index.tolist() == [[0, 1]]
    last = match_iou(anchors, boxes, labels, force="last")
    assert last.gt_index.tolist() == [[1, 0]]
    assert last.state.tolist() == [[1, 0]]


@settings(deadline=None, max_examples=15)
@given(scene=scenes)
@pytest.mark.parametrize("force", RULES)
def test_padding_changes_nothing(force, scene):
    boxes, labels, ignore = tensors(scene)
    plain = match_iou(GRID, boxes, labels, ignore=ignore, force=force)
    padded = match_iou(
        GRID,
        torch.cat([boxes, torch.zeros(2, 3, 4), GRID.boxes[:2].expand(2, -1, -1)], 1),
        torch.cat([labels, torch.full((2, 5), -1)], 1),
        ignore=torch.cat([ignore, torch.zeros(2, 5, dtype=torch.bool)], 1),
        force=force,
    )
    assert all(torch.equal(a, b) for a, b in zip(plain, padded, strict=True))


@pytest.mark.parametrize("force", RULES)
def test_no_targets(force):
    for boxes, labels in [
        (torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.int64)),
        (torch.zeros(2, 3, 4), torch.full((2, 3), -1)),
    ]:
        matches = match_iou(GRID, boxes, labels, force=force, ignore=torch.zeros_like(labels, dtype=torch.bool))
        assert matches.state.shape == matches.gt_index.shape == (2, len(GRID))
        assert matches.state.dtype == torch.int8
        assert matches.gt_index.dtype == torch.int64
        assert matches.iou.dtype == torch.float32
        assert not any(field.any() for field in matches)


def test_thresholds():
    anchors = torch.tensor(
        [[0.0, 0.0, 10.0, 10.0], [0.0, 5.0, 10.0, 10.0], [0.0, 7.0, 10.0, 10.0], [0.0, 8.0, 10.0, 10.0]]
    )
    boxes, labels = torch.tensor([[[0.0, 0.0, 10.0, 10.0]]]), torch.tensor([[0]])
    # IoU 1, .5, .3, .2
    default = match_iou(anchors, boxes, labels, force=None)
    assert default.state.tolist() == [[1, 1, 0, 0]]
    assert default.iou.tolist() == [[1, 0.5, 0, 0]]
    assert match_iou(anchors, boxes, labels, force=None, strict=True).state.tolist() == [[1, -1, 0, 0]]
    reached = match_iou(anchors, boxes, labels, force=None, positive=0.5, negative=0.25)
    assert reached.state.tolist() == [[1, 1, -1, 0]]
    between = match_iou(anchors, boxes, labels, force=None, positive=0.7, negative=0.25)
    assert between.state.tolist() == [[1, -1, -1, 0]]
    assert between.iou.tolist()[0] == pytest.approx([1, 0.5, 0.3, 0])
    everything = match_iou(anchors, boxes, labels, force=None, positive=0.7, negative=0.0)
    assert everything.state.tolist() == [[1, -1, -1, -1]]


def test_ignored_boxes_set_negatives_aside():
    anchors = torch.tensor(
        [[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 20.0], [0.0, 0.0, 10.0, 21.0], [50.0, 0.0, 60.0, 10.0]]
    )
    boxes = torch.tensor(
        [[[0.0, 0.0, 40.0, 10.0], [0.0, 0.0, 10.0, 10.0]], [[0.0, 0.0, 40.0, 10.0], [0.0, 0.0, 0.0, 0.0]]]
    )
    labels = torch.tensor([[0, 1], [0, -1]])
    ignore = torch.tensor([[True, False], [True, False]])
    matches = match_iou(anchors, boxes, labels, ignore=ignore, positive=0.6, negative=0.6)
    # intersection over the anchor: 1, .5, 10 / 21, 0; the first anchor belongs to the second target of image 0
    assert matches.state.tolist() == [[1, -1, 0, 0], [-1, -1, 0, 0]]
    assert matches.gt_index.tolist() == [[1, 0, 0, 0], [0, 0, 0, 0]]
    assert match_iou(anchors, boxes, labels, ignore=ignore, ignore_ioa=0.9).state.tolist() == [
        [1, 1, 0, 0],
        [-1, 0, 0, 0],
    ]


def scene_matches(name, scene, spec, size, force):
    """Pairs (anchor, target) of positives in a golden scene, whose boxes are in units of the image."""
    boxes = torch.from_numpy(GOLDEN[f"{name}_{scene}_gt_xyxy"]).float()
    anchors = make_anchors(spec, size).boxes / size
    if name == "ssd":  # ssd.pytorch's anchors, which clip center and size
        anchors = convert_boxes(convert_boxes(anchors, "xyxy", "cxcywh").clamp(0, 1), "cxcywh", "xyxy")
    matches = match_iou(anchors, boxes[None], torch.zeros(1, len(boxes), dtype=torch.int64), force=force)
    positive = (matches.state[0] == 1).nonzero().squeeze(1)
    return {(a, int(matches.gt_index[0, a])) for a in positive.tolist()}


GOLDEN_SCENES = [
    (name, scene)
    for name in ("tiny", "ssd")
    for scene in GOLDEN[f"{name}_scenes"].tolist()
    if scene != "smaller_than_all"
]


@pytest.mark.parametrize(("name", "scene"), GOLDEN_SCENES)
def test_golden_scenes(name, scene):
    spec, size = (named.TINY_441, 224) if name == "tiny" else (named.SSD300, 300)
    caffe = {tuple(pair) for pair in GOLDEN[f"{name}_{scene}_caffe_pos"].tolist()}
    ours = scene_matches(name, scene, spec, size, "bipartite")
    if scene == "outside_all":  # Caffe leaves a target that overlaps nothing without an anchor
        assert caffe < ours
        assert len(ours) == len(caffe) + 1
    else:
        assert ours == caffe
    torchvision = {tuple(pair) for pair in GOLDEN[f"{name}_{scene}_tv_pos"].tolist()}
    assert scene_matches(name, scene, spec, size, "last") == torchvision
    reached = {anchor for anchor, _ in scene_matches(name, scene, spec, size, None)}
    assert reached <= {anchor for anchor, _ in ours}


@pytest.mark.parametrize("name", ["tiny", "ssd"])
def test_golden_scene_with_tied_best_anchors(name):
    spec, size = (named.TINY_441, 224) if name == "tiny" else (named.SSD300, 300)
    tied = {(a, t) for t, a in GOLDEN[f"{name}_smaller_than_all_tie_sets"].tolist()}
    targets = len(GOLDEN[f"{name}_smaller_than_all_gt_xyxy"])
    ours = scene_matches(name, "smaller_than_all", spec, size, "bipartite")
    assert ours <= tied
    assert {t for _, t in ours} == set(range(targets))


@pytest.mark.parametrize(("name", "positive", "negative"), [("retina", 0.5, 0.4), ("rpn", 0.7, 0.3)])
def test_dense_golden_scenes(name, positive, negative):
    anchors = torch.from_numpy(GOLDEN[f"{name}_anchors"]).float()
    for scene in GOLDEN[f"{name}_scenes"].tolist():
        boxes = torch.from_numpy(GOLDEN[f"{name}_{scene}_gt"]).float()
        labels = torch.zeros(1, len(boxes), dtype=torch.int64)
        for force, key in [("ties", "tv"), (None, "tv_nolow")]:
            expected = torch.from_numpy(GOLDEN[f"{name}_{scene}_{key}"]).long()
            if len(boxes) == 0 or (scene == "zero_iou" and force == "ties"):
                continue  # torchvision raises for no targets, and makes every anchor positive for one without overlap
            matches = match_iou(anchors, boxes[None], labels, positive=positive, negative=negative, force=force)
            ours = torch.where(matches.state[0] == 1, matches.gt_index[0], torch.where(matches.state[0] == 0, -1, -2))
            assert torch.equal(ours, expected), (scene, force)


def test_a_target_without_overlap_forces_no_ties():
    boxes = torch.from_numpy(GOLDEN["rpn_zero_iou_gt"]).float()
    anchors = torch.from_numpy(GOLDEN["rpn_anchors"]).float()
    labels = torch.zeros(1, len(boxes), dtype=torch.int64)
    reached = [g for g in range(len(boxes)) if box_iou(boxes[g : g + 1], anchors).max() > 0]
    assert len(reached) < len(boxes)
    everyone = match_iou(anchors, boxes[None], labels, positive=0.7, negative=0.3, force="ties")
    only = match_iou(anchors, boxes[None, reached], labels[:, reached], positive=0.7, negative=0.3, force="ties")
    assert torch.equal(everyone.state, only.state)
    assert (everyone.state == 1).sum() < 100


def test_errors():
    boxes, labels = torch.zeros(1, 2, 4), torch.zeros(1, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"Expected force to be None or out of .* but got 'first'"):
        match_iou(GRID, boxes, labels, force="first")
    with pytest.raises(ValueError, match="Expected negative <= positive"):
        match_iou(GRID, boxes, labels, positive=0.3)
    with pytest.raises(ValueError, match=r"Expected boxes \(B, G, 4\) and labels \(B, G\)"):
        match_iou(GRID, boxes[0], labels)
    with pytest.raises(ValueError, match=r"Expected ignore bool \(1, 2\)"):
        match_iou(GRID, boxes, labels, ignore=torch.zeros(1, 2))


@pytest.mark.parametrize("regular", [True, False])
def test_best_anchors_are_those_of_the_whole_matrix(regular):
    generator = torch.Generator().manual_seed(4)
    anchors = make_anchors(named.SSD300, 300)
    low = torch.rand(2, 40, 2, generator=generator) * 290
    boxes = torch.cat([low, low + torch.rand(2, 40, 2, generator=generator) ** 3 * 300], -1)
    labels = torch.zeros(2, 40, dtype=torch.int64)
    labels[1, 30:] = -1
    ignore = torch.zeros(2, 40, dtype=torch.bool)
    ignore[0, 3] = True
    iou, anchor = best_anchors(anchors if regular else anchors.boxes, boxes, labels, ignore)
    expected = box_iou(boxes, anchors.boxes.expand(2, -1, -1)).max(-1)
    real = (labels >= 0) & ~ignore
    assert torch.equal(iou[real], expected.values[real])
    assert torch.equal(anchor[real], expected.indices[real])
    assert (iou[~real] == -1).all()
    none = best_anchors(anchors, boxes[:, :0], labels[:, :0])
    assert none[0].shape == none[1].shape == (2, 0)
