"""Golden rows: the anchors of ssd.pytorch (amd), torchvision, mmdet, torchcv, detectron2, SSD-Tensorflow (balancap)."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from boxwright import anchors as named
from boxwright.anchors import AnchorSpec, make_anchors, on_grids

GOLDEN = np.load(Path(__file__).parent / "golden" / "anchors.npz")
SSD_RATIOS = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
BOUNDS = AnchorSpec.from_bounds(
    0.15, 0.9, image_size=300, strides=[300 / cells for cells in (38, 19, 10, 5, 3, 1)], ratios=SSD_RATIOS, clip="sizes"
)


THIRDS = [2 ** (k / 3) for k in range(3)]
STRIDES = (8, 16, 32, 64, 128)
RETINANET_TV = AnchorSpec.torchvision(
    [[int(4 * stride * t) for t in THIRDS] for stride in STRIDES], (0.5, 1, 2), STRIDES
)
RPN_TV = AnchorSpec.torchvision([[32], [64], [128], [256], [512]], (0.5, 1, 2), (4, 8, 16, 32, 64))
FCOS_TV = AnchorSpec.torchvision([[stride] for stride in STRIDES], (1,), STRIDES)


def sized(spec: AnchorSpec) -> AnchorSpec:
    return dataclasses.replace(spec, clip="sizes")


def test_squares_lie_in_the_middle_of_every_cell():
    anchors = make_anchors(AnchorSpec.squares(strides=(8, 16), scale=4.0), (20, 33))
    assert [level.grid for level in anchors.levels] == [(3, 5), (2, 3)]
    assert [level.count for level in anchors.levels] == [15, 6]
    assert len(anchors) == 15 + 6
    assert anchors.boxes.dtype == torch.float32
    assert anchors.boxes[0].tolist() == [4 - 16, 4 - 16, 4 + 16, 4 + 16]
    assert anchors.boxes[1].tolist() == [12 - 16, 4 - 16, 12 + 16, 4 + 16]  # columns before rows
    assert anchors.boxes[15].tolist() == [8 - 32, 8 - 32, 8 + 32, 8 + 32]
    assert anchors.levels[1].shapes.tolist() == [[64, 64]]


@pytest.mark.parametrize(
    ("key", "spec", "size"),
    [
        ("ssd300_amd", named.SSD300, 300),
        ("ssd300_sizes_tv", sized(named.SSD300), 300),
        ("ssd300_coco_mmdet", named.SSD300_COCO, 300),
        ("ssd300_coco_sizes_tv", sized(named.SSD300_COCO), 300),
        ("ssd300_tf_balancap", named.SSD300_TF, 300),
        ("ssd512_torchcv", named.SSD512, 512),
        ("tiny_441_tiny", named.TINY_441, 224),
        ("retinanet_mmdet", named.RETINANET, 320),
        ("rpn_d2", named.RPN, (320, 320)),
        ("retinanet_tv", RETINANET_TV, 320),
        ("rpn_tv", RPN_TV, 320),
        ("fcos_tv", FCOS_TV, 320),
    ],
)
def test_named_specs_equal_their_references(key, spec, size):
    boxes = make_anchors(spec, size).boxes
    assert len(boxes) == GOLDEN[f"{key}_count"]
    np.testing.assert_allclose(boxes[GOLDEN[f"{key}_rows"]].numpy(), GOLDEN[key], atol=1e-4)


def test_from_bounds_gives_the_papers_linear_scales():
    boxes = make_anchors(BOUNDS, 300).boxes
    assert len(boxes) == GOLDEN["bounds_tv_count"]
    # torchvision ends its scales at 1.0, the line goes on to 1.05: only the very last level's second square differs.
    rows = GOLDEN["bounds_tv_rows"]
    same = rows != len(boxes) - 3
    np.testing.assert_allclose(boxes[rows[same]].numpy(), GOLDEN["bounds_tv"][same], atol=1e-4)
    assert boxes[-3, 2] - boxes[-3, 0] == pytest.approx(300 * (0.9 * 1.05) ** 0.5)
    sides = [level.shapes[0][0] / 300 for level in BOUNDS.levels]
    assert sides == pytest.approx([0.15, 0.30, 0.45, 0.60, 0.75, 0.90])


SSD512_MAPS = {
    "image_size": 512,
    "strides": (8, 16, 32, 64, 128, 256, 512),
    "ratios": ((2,), (2, 3), (2, 3), (2, 3), (2, 3), (2,), (2,)),
}


@pytest.mark.parametrize(
    ("bounds", "options", "spec"),
    [
        ((0.2, 0.9), {}, named.SSD300),
        ((0.15, 0.9), {}, named.SSD300_COCO),
        ((0.15, 0.9), {}, named.SSD300_TF),
        ((0.15, 0.9), SSD512_MAPS, named.SSD512),
    ],
)
def test_the_authors_rule_gives_their_boxes_from_bounds(bounds, options, spec):
    assert AnchorSpec.from_bounds(*bounds, rule="authors", **options) == spec


@pytest.mark.parametrize(
    ("bounds", "options", "sizes"),
    [
        ((0.15, 0.9), {}, [21, 45, 99, 153, 207, 261, 315]),
        ((0.2, 0.9), {}, [30, 60, 111, 162, 213, 264, 315]),
        ((0.2, 0.95), {}, [30, 60, 114, 168, 222, 276, 330]),  # the paper's first version
        ((0.1, 0.9), {"first": 0.04, **SSD512_MAPS}, [20.48, 51.2, 133.12, 215.04, 296.96, 378.88, 460.8, 542.72]),
        ((0.15, 0.9), {"first": 0.075}, [22.5, 45, 99, 153, 207, 261, 315]),
        # a step of floor(35 / 4) = 8 per cent stops short of the upper bound, 29 per cent is not cut to 28
        ((0.29, 0.64), {}, [42, 87, 111, 135, 159, 183, 207]),
    ],
)
def test_the_authors_rule_counts_in_whole_per_cent(bounds, options, sizes):
    spec = AnchorSpec.from_bounds(*bounds, rule="authors", **options)
    assert [level.shapes[0][0] for level in spec.levels] == sizes[:-1]
    between = [level.shapes[1][0] for level in spec.levels]
    assert between == pytest.approx([(a * b) ** 0.5 for a, b in itertools.pairwise(sizes)])


def test_the_first_version_of_ssd_has_7308_anchors():
    """38² cells with three each, the other 495 with six."""
    anchors = make_anchors(named.SSD300_V1, 300)
    assert [level.count for level in anchors.levels] == [4332, 2166, 600, 150, 54, 6]
    assert len(anchors) == 7308
    sides = named.SSD300_V1.levels[0].shapes
    root = 2**0.5
    assert np.array(sides).tolist() == [[30, 30], [30 * root, 30 / root], [30 / root, 30 * root]]


def test_bounds_lie_on_the_maps_of_ssd300_by_default():
    paper = AnchorSpec.from_bounds()
    assert [level.stride for level in paper.levels] == [8, 16, 32, 64, 100, 300]
    assert [level.shapes[0][0] for level in paper.levels] == pytest.approx([60, 102, 144, 186, 228, 270])


def test_clipping():
    spec = AnchorSpec.squares(strides=(8,), scale=4.0)
    free, corners, sizes = (
        make_anchors(dataclasses.replace(spec, clip=clip), (16, 24)) for clip in (None, "corners", "sizes")
    )
    assert free.boxes[0].tolist() == [-12, -12, 20, 20]
    assert corners.boxes[0].tolist() == [0, 0, 20, 16]
    assert sizes.boxes[0].tolist() == [4 - 12, 4 - 8, 4 + 12, 4 + 8]  # 24 x 16, the center where it was
    assert sizes.levels[0].shapes.tolist() == [[24, 16]]
    assert torch.equal(sizes.boxes[:, :2] + sizes.boxes[:, 2:], free.boxes[:, :2] + free.boxes[:, 2:])


def test_levels_tell_where_the_boxes_are():
    anchors = make_anchors(named.RPN, (50, 70))
    start = 0
    for level in anchors.levels:
        boxes = anchors.boxes[start : start + level.count].reshape(*level.grid, len(level.shapes), 4)
        start += level.count
        row, column = level.grid[0] - 1, level.grid[1] - 1
        center = (boxes[row, column, :, :2] + boxes[row, column, :, 2:]) / 2
        expected = torch.tensor([column + level.offset, row + level.offset]).float() * level.stride
        torch.testing.assert_close(center, expected.expand_as(center))
        torch.testing.assert_close(boxes[0, 0, :, 2:] - boxes[0, 0, :, :2], level.shapes)
    assert start == len(anchors)


@pytest.mark.parametrize(("rounding", "grids"), [("ceil", [(4, 5), (2, 3)]), ("floor", [(3, 4), (1, 2)])])
def test_cells_are_rounded_up_or_down(rounding, grids):
    spec = dataclasses.replace(AnchorSpec.squares(strides=(8, 16)), rounding=rounding)
    assert [level.grid for level in make_anchors(spec, (31, 39)).levels] == grids
    even = make_anchors(dataclasses.replace(spec, levels=AnchorSpec.squares(strides=(300 / 38,)).levels), 300)
    assert even.levels[0].grid == (38, 38)  # a stride that is rounded makes no cell more, and none less


def test_grids_of_maps_that_are_given():
    """A 3x3 convolution without padding loses a cell on each side; centers stay a stride apart."""
    spec = AnchorSpec.squares(strides=(8, 16), scale=4.0)
    anchors = make_anchors(spec, 64, grids=[(6, 7), (2, 5)])
    assert [level.grid for level in anchors.levels] == [(6, 7), (2, 5)]
    assert len(anchors) == 6 * 7 + 2 * 5
    assert anchors.boxes[6 * 7 - 1].tolist() == [52 - 16, 44 - 16, 52 + 16, 44 + 16]
    assert torch.equal(make_anchors(spec, 64, grids=[(8, 8), (4, 4)]).boxes, make_anchors(spec, 64).boxes)
    maps = [torch.zeros(1, 3, 6, 7), torch.zeros(1, 3, 2, 5)]
    assert torch.equal(make_anchors(spec, 64, [x.shape[-2:] for x in maps]).boxes, anchors.boxes)
    fitted = make_anchors(dataclasses.replace(spec, fitted=True), 64, grids=[(6, 7), (2, 5)])
    assert [level.pitch for level in fitted.levels] == [(10, 9), (32, 12)]


def test_moves_to_a_device():
    anchors = make_anchors(AnchorSpec.squares(), 32).to("meta")
    assert anchors.boxes.device.type == anchors.levels[0].shapes.device.type == "meta"


def test_specs_are_frozen_and_hashable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        named.SSD300.clip = "corners"
    assert len({named.SSD300, named.SSD300_COCO, named.SSD300_TF}) == 2


def test_errors():
    with pytest.raises(ValueError, match=r"Expected clip to be None or out of .* but got 'boxes'"):
        AnchorSpec((), clip="boxes")
    with pytest.raises(ValueError, match=r"Expected an image size \(H, W\) of at least 1"):
        make_anchors(named.SSD300, (0, 300))
    with pytest.raises(ValueError, match=r"Expected 6 grids of at least 1 row and column but got \[\(1, 1\)\]"):
        make_anchors(named.SSD300, 300, grids=[(1, 1)])
    with pytest.raises(ValueError, match="Expected 1 grids of at least 1 row"):
        make_anchors(dataclasses.replace(AnchorSpec.squares((32,)), rounding="floor"), 31)
    with pytest.raises(
        ValueError, match=r"Expected at most a cell for every pixel but got a grid \(4, 9\) on \(8, 8\)"
    ):
        make_anchors(AnchorSpec((AnchorSpec.squares((1,)).levels), fitted=True), 8, grids=[(4, 9)])
    with pytest.raises(ValueError, match="Expected rounding out of"):
        dataclasses.replace(named.SSD300, rounding="round")
    with pytest.raises(ValueError, match="Expected one size more"):
        AnchorSpec.ssd((30, 60), (8, 16), ((2,), (2,)))
    with pytest.raises(ValueError, match="at least 2 levels"):
        AnchorSpec.from_bounds(0.2, 0.9, image_size=300, strides=(8,), ratios=((2,),))
    with pytest.raises(ValueError, match="at least 3 levels"):
        AnchorSpec.from_bounds(strides=(8, 16), ratios=((2,), (2,)), rule="authors")
    with pytest.raises(ValueError, match="Expected bounds 0 < s_min <= s_max"):
        AnchorSpec.from_bounds(0.9, 0.2)
    for options in ({"rule": "author"}, {"first": 0.1}):
        with pytest.raises(ValueError, match="Expected a rule out of"):
            AnchorSpec.from_bounds(**options)


def test_shapes_are_read_level_by_level():
    spec = AnchorSpec.shapes((8, 16), "16x20 30.5x31 / 64x60")
    assert [level.stride for level in spec.levels] == [8, 16]
    assert spec.levels[0].shapes == ((16, 20), (30.5, 31))
    assert spec.levels[1].shapes == ((64, 60),)
    assert make_anchors(spec, 16).boxes[0].tolist() == [-4, -6, 12, 14]


@pytest.mark.parametrize("levels", ["16", "16x20x3", "axb", "", "8x8 /", "0x4", "-1x4", "8x8"])
def test_shapes_that_cannot_be_read(levels):
    with pytest.raises(ValueError, match=r"Expected|could not convert"):
        AnchorSpec.shapes((8, 16), levels)


def test_boxes_on_their_grids_and_next_to_them():
    anchors = make_anchors(named.SSD300, 300)
    assert on_grids(anchors.boxes, anchors.levels)
    assert on_grids(torch.nextafter(anchors.boxes, torch.tensor(torch.inf)), anchors.levels)
    for change in (1e-3, torch.nan):
        moved = anchors.boxes.clone()
        moved[1234, 2] += change
        assert not on_grids(moved, anchors.levels)
    assert not on_grids(anchors.boxes[1:], anchors.levels)
    clipped = make_anchors(dataclasses.replace(named.SSD300, clip="corners"), 300)
    assert not on_grids(clipped.boxes, clipped.levels)
