"""Looking only at the cells that can overlap gives what the whole matrix gives, to the last bit."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boxwright import anchors as named
from boxwright._util.checks import has_area
from boxwright.anchors import Anchors, AnchorSpec, make_anchors
from boxwright.boxes import box_iou
from boxwright.matching import _grid, match_iou
from boxwright.matching import iou as iou_rules
from boxwright.matching._grid import GridOverlaps

GOLDEN = np.load(Path(__file__).parent / "golden" / "match.npz")
SSD_CLIPPED = AnchorSpec.ssd((30, 60, 111), (8, 16), ((2,), (2, 3)), clip="sizes")
GRIDS = {
    "ssd300": make_anchors(named.SSD300, 300),
    "tiny": make_anchors(named.TINY_441, 224),
    "retinanet": make_anchors(named.RETINANET, (160, 224)),
    "rpn": make_anchors(named.RPN, 96),
    "squares": make_anchors(AnchorSpec.squares(), 320),
    "sizes": make_anchors(SSD_CLIPPED, 90),
    "fitted": make_anchors(AnchorSpec.torchvision([[32], [64, 90]], (0.5, 1), (16, 64)), (150, 250)),
    "floor": make_anchors(dataclasses.replace(named.SSD512, rounding="floor"), (613, 515)),
    "smaller maps": make_anchors(SSD_CLIPPED, 200, grids=[(23, 21), (3, 9)]),
    "larger maps": make_anchors(AnchorSpec.squares(), 64, grids=[(20, 11), (9, 1), (1, 5)]),
    "one cell": make_anchors(named.TINY_441, 224, grids=[(1, 1)]),
}
RULES = ["bipartite", "ties", "last", None]


def made_boxes(kind: str, anchors: Anchors, images: int, count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(images, count, 2, generator=generator) * 300
    sides = torch.exp(torch.rand(images, count, 2, generator=generator) * 5)
    if kind == "rounded":
        corners, sides = corners.round(), sides.round()
    elif kind == "lattice":  # ties between anchors and between targets
        corners, sides = (corners / 16).round() * 16, (sides / 16).round() * 16
    elif kind == "tiny":
        sides = sides * 1e-5
    elif kind == "huge":
        corners, sides = corners - sides * 500, sides * 1000
    elif kind == "outside":
        corners = corners + 900
    elif kind == "far":
        corners = corners - 1e6
    elif kind == "equal":
        corners, sides = corners[:, :1].repeat(1, count, 1), sides[:, :1].repeat(1, count, 1)
    elif kind == "without area":
        sides = sides * (torch.rand(images, count, 2, generator=generator) > 0.4)
    elif kind == "anchors":
        return anchors.boxes[torch.randint(len(anchors), (images, count), generator=generator)]
    return torch.cat([corners, corners + sides], -1)


KINDS = ["any", "rounded", "lattice", "tiny", "huge", "outside", "far", "equal", "without area", "anchors"]


@settings(deadline=None, max_examples=12)
@given(
    grid=st.sampled_from(sorted(GRIDS)),
    kind=st.sampled_from(KINDS),
    shape=st.sampled_from([(1, 1), (2, 3), (3, 12), (1, 40)]),
    thresholds=st.sampled_from([(0.5, 0.5), (0.7, 0.3), (0.5, 0.4), (0.2, 0.02)]),
    strict=st.booleans(),
    seed=st.integers(0, 10**6),
)
@pytest.mark.parametrize("force", RULES)
def test_equals_the_whole_matrix(force, grid, kind, shape, thresholds, strict, seed):
    anchors = GRIDS[grid]
    boxes = made_boxes(kind, anchors, *shape, seed)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.where(has_area(boxes), torch.randint(-1, 3, shape, generator=generator), -1)
    ignore = torch.rand(shape, generator=generator) < 0.1
    options = {"positive": thresholds[0], "negative": thresholds[1], "strict": strict, "force": force, "ignore": ignore}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(iou_rules, "_LEAST_ELEMENTS", 0)
        sparse = match_iou(anchors, boxes, labels, **options)
    dense = match_iou(anchors.boxes, boxes, labels, **options)
    assert all(torch.equal(a, b) for a, b in zip(sparse, dense, strict=True))


@settings(deadline=None, max_examples=25)
@given(
    grids=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=2, max_size=2),
    size=st.tuples(st.integers(20, 400), st.integers(20, 400)),
    fitted=st.booleans(),
    kind=st.sampled_from(KINDS),
    force=st.sampled_from(RULES),
    seed=st.integers(0, 10**6),
)
def test_equals_the_whole_matrix_on_any_grids(grids, size, fitted, kind, force, seed):
    fitted = fitted and all(side >= cells for grid in grids for side, cells in zip(size, grid, strict=True))
    anchors = make_anchors(dataclasses.replace(SSD_CLIPPED, clip=None, fitted=fitted), size, grids)
    boxes = made_boxes(kind, anchors, 2, 6, seed)
    labels = torch.where(has_area(boxes), 0, -1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(iou_rules, "_LEAST_ELEMENTS", 0)
        sparse = match_iou(anchors, boxes, labels, force=force)
    dense = match_iou(anchors.boxes, boxes, labels, force=force)
    assert all(torch.equal(a, b) for a, b in zip(sparse, dense, strict=True))


@pytest.mark.parametrize("scene", GOLDEN["ssd_scenes"].tolist())
@pytest.mark.parametrize("force", RULES)
def test_equals_the_whole_matrix_in_golden_scenes(force, scene, monkeypatch):
    monkeypatch.setattr(iou_rules, "_LEAST_ELEMENTS", 0)
    for name, grid, size in [("ssd", "ssd300", 300), ("tiny", "tiny", 224)]:
        boxes = torch.from_numpy(GOLDEN[f"{name}_{scene}_gt_xyxy"]).float()[None] * size
        labels = torch.zeros(1, boxes.shape[1], dtype=torch.int64)
        sparse = match_iou(GRIDS[grid], boxes, labels, force=force)
        dense = match_iou(GRIDS[grid].boxes, boxes, labels, force=force)
        assert all(torch.equal(a, b) for a, b in zip(sparse, dense, strict=True))


@pytest.mark.parametrize("kind", ["any", "lattice"])
def test_looks_at_few_cells_and_misses_none(kind):
    anchors = GRIDS["ssd300"]
    boxes = made_boxes(kind, anchors, 2, 20, seed=3)
    overlaps = GridOverlaps(anchors, boxes, torch.ones(2, 20, dtype=torch.bool), 0.5, forces=False)
    row, anchor, _ = overlaps._pairs
    assert len(row) < 0.01 * 40 * len(anchors)
    reach = (box_iou(boxes, anchors.boxes).flatten(0, 1) >= 0.5).nonzero().tolist()
    assert reach
    assert set(map(tuple, reach)) <= set(zip(row.tolist(), anchor.tolist(), strict=True))


def test_a_crowd_of_equal_objects_takes_as_many_anchors():
    """Each is turned down by all that the others took, far below the threshold at which the list begins."""
    anchors = GRIDS["ssd300"]
    boxes = torch.tensor([[[100.0, 100.0, 160.0, 160.0]]]).expand(1, 60, 4)
    matches = match_iou(anchors, boxes, torch.zeros(1, 60, dtype=torch.int64))
    positive = matches.state[0] == 1
    assert set(matches.gt_index[0][positive].tolist()) == set(range(60))
    best = box_iou(boxes[0, :1], anchors.boxes)[0].sort(descending=True, stable=True).indices[:60]
    assert matches.gt_index[0][best].tolist() == list(range(60))


@pytest.mark.parametrize(
    ("anchors", "options", "sparse"),
    [
        (GRIDS["ssd300"], {}, True),
        (GRIDS["ssd300"].boxes, {}, False),
        (make_anchors(AnchorSpec.ssd((30, 60, 111), (8, 16), ((2,), (2, 3)), clip="corners"), 300), {}, False),
        (GRIDS["ssd300"], {"negative": 0.0}, False),
        (GRIDS["tiny"], {}, False),
    ],
)
def test_where_it_is_used(anchors, options, sparse, monkeypatch):
    used = []
    monkeypatch.setattr(iou_rules, "GridOverlaps", lambda *a, **k: used.append(1) or GridOverlaps(*a, **k))
    boxes = made_boxes("any", GRIDS["ssd300"], 2, 8, seed=0)
    match_iou(anchors, boxes, torch.zeros(2, 8, dtype=torch.int64), **options)
    assert bool(used) == sparse


def test_targets_of_double_precision_take_the_whole_matrix():
    boxes = made_boxes("any", GRIDS["ssd300"], 2, 10, seed=1)
    labels = torch.zeros(2, 10, dtype=torch.int64)
    single, double = (match_iou(GRIDS["ssd300"], x, labels) for x in (boxes, boxes.double()))
    assert torch.equal(single.state, double.state)
    assert torch.equal(single.gt_index, double.gt_index)


def test_tables_of_shapes_tell_every_anchor():
    for anchors in GRIDS.values():
        shapes = anchors.grid_shapes
        for shape in range(len(shapes.first)):
            columns, rows = (int(last) for last in shapes.last_cell[shape])
            for column, row in itertools.product({0, columns}, {0, rows}):
                place = int(shapes.first[shape]) + int((shapes.steps[shape] * torch.tensor([column, row])).sum())
                box = anchors.boxes[place].double()
                center = (box[:2] + box[2:]) / 2
                expected = (torch.tensor([column, row]) + shapes.offset[shape]) * shapes.pitch[shape]
                torch.testing.assert_close(center, expected, atol=1e-4, rtol=0)
                torch.testing.assert_close(box[2:] - box[:2], shapes.sides[shape], atol=1e-4, rtol=0)


def test_nothing_is_looked_at_without_targets():
    boxes, labels = torch.zeros(2, 3, 4), torch.full((2, 3), -1)
    matches = match_iou(GRIDS["ssd300"], boxes, labels)
    assert not matches.state.any()
    assert _grid.LEAST_IOU < iou_rules._LEAST_FLOOR
