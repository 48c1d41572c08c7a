"""FCOS's assignment against the rules read point by point."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright._util.checks import has_area
from boxwright.anchors import RPN, AnchorSpec, make_anchors
from boxwright.boxes import box_area, box_iou
from boxwright.matching import match_points

FCOS = make_anchors(AnchorSpec.squares((8, 16, 32)), (96, 160))
GIVEN = make_anchors(AnchorSpec.squares((8, 16, 32)), (96, 160), grids=[(11, 17), (9, 4), (1, 6)])


def reference(anchors, boxes, labels, ignore, reach, radius):
    """One image, one anchor at a time."""
    gt_index, state = [], []
    levels = [(n, level) for n, level in enumerate(anchors.levels) for _ in range(level.count)]
    for (n, level), box in zip(levels, anchors.boxes, strict=True):
        x, y = ((box[:2] + box[2:]) / 2).tolist()
        lower = reach * anchors.levels[n - 1].stride if n else -1
        upper = reach * level.stride if n + 1 < len(anchors.levels) else float("inf")
        found = []
        for g, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
            sides = (x - x1, y - y1, x2 - x, y2 - y)
            near = radius is None or max(abs(x - (x1 + x2) / 2), abs(y - (y1 + y2) / 2)) < radius * level.stride
            if labels[g] >= 0 and not ignore[g] and min(sides) > 0 and lower < max(sides) <= upper and near:
                found.append((box_area(boxes[g]).item(), g))
        gt_index.append(min(found)[1] if found else 0)
        state.append(int(bool(found)))
    return gt_index, state


numbers = st.integers(-2, 22).map(lambda n: n * 8.0) | st.floats(-20, 180, width=32)
sides = st.sampled_from([0.0, 4.0, 8.0, 16.0, 64.0, 128.0, 256.0]) | st.floats(0, 200, width=32)
boxes_of = st.tuples(numbers, numbers, sides, sides).map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]])


@settings(deadline=None, max_examples=40)
@given(
    boxes=st.lists(boxes_of, min_size=1, max_size=6),
    anchors=st.sampled_from([FCOS, GIVEN]),
    reach=st.sampled_from([2.0, 4.0, 8.0]),
    radius=st.sampled_from([None, 1.5]),
    seed=st.integers(0, 99),
)
def test_equals_the_rules_read_one_by_one(boxes, anchors, reach, radius, seed):
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.tensor(boxes)
    labels = torch.where(has_area(boxes), torch.randint(-1, 3, (len(boxes),), generator=generator), -1)
    ignore = torch.rand(len(boxes), generator=generator) < 0.2
    matches = match_points(
        anchors, boxes[None], labels[None], ignore=ignore[None], ignore_ioa=2.0, reach=reach, radius=radius
    )
    gt_index, state = reference(anchors, boxes, labels, ignore, reach, radius)
    assert matches.gt_index[0].tolist() == gt_index
    assert matches.state[0].tolist() == state
    own = box_iou(boxes, anchors.boxes)[gt_index, range(len(anchors))] * torch.tensor(state)
    assert torch.equal(matches.iou[0], own)


def test_each_size_belongs_to_one_level():
    """A distance of exactly reach x stride belongs to the finer level: torchvision gives it to none."""
    anchors = make_anchors(AnchorSpec.squares((8, 16, 32)), 256)
    center = 132.0  # a cell's center on the finest map
    for side in (63.0, 64.0, 64.5, 128.0, 129.0):
        box = torch.tensor([[[center - side, center - side, center + side, center + side]]])
        positive = match_points(anchors, box, torch.zeros(1, 1, dtype=torch.int64)).state[0] == 1
        on_point = (anchors.boxes[:, 0] + anchors.boxes[:, 2]) / 2 == center
        on_point &= (anchors.boxes[:, 1] + anchors.boxes[:, 3]) / 2 == center
        assert (positive & on_point).sum() == (side <= 64)


def test_the_smallest_of_several_targets():
    box = [20.0, 20.0, 60.0, 60.0]
    boxes = torch.tensor([[[0.0, 0.0, 90.0, 90.0], box, box, [22.0, 22.0, 30.0, 30.0]]])
    matches = match_points(FCOS, boxes, torch.tensor([[0, 1, 2, 0]]), reach=100.0)
    inside = matches.gt_index[0][matches.state[0] == 1].tolist()
    assert set(inside) == {0, 1, 3}  # the later of two equal ones never wins


def test_several_shapes_on_a_cell_share_its_point():
    anchors = make_anchors(RPN, 128)
    matches = match_points(anchors, torch.tensor([[[30.0, 30.0, 50.0, 60.0]]]), torch.tensor([[1]]))
    assert matches.state.sum() > 0
    assert torch.equal(matches.state.view(-1, 3).amin(1), matches.state.view(-1, 3).amax(1))


def test_no_targets_and_ignored_ones():
    empty = match_points(FCOS, torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.int64))
    assert not any(field.any() for field in empty)
    boxes = torch.tensor([[[0.0, 0.0, 64.0, 64.0]]])
    ignored = match_points(FCOS, boxes, torch.tensor([[0]]), ignore=torch.tensor([[True]]))
    assert set(ignored.state.unique().tolist()) == {-1, 0}
    with pytest.raises(ValueError, match="Expected reach and radius above 0 but got 0 and None"):
        match_points(FCOS, boxes, torch.tensor([[0]]), reach=0)
