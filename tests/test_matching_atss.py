import pytest
import torch

from boxwright.anchors import RPN, AnchorSpec, make_anchors
from boxwright.boxes import box_iou
from boxwright.matching import match_atss


def reference(anchors, boxes, labels, ignore, top):
    """Algorithm 1 of the paper, one image and one target at a time."""
    centers = (anchors.boxes[:, :2] + anchors.boxes[:, 2:]) / 2
    gt_index = torch.zeros(len(labels), len(anchors), dtype=torch.int64)
    best = torch.zeros(len(labels), len(anchors))
    for image in range(len(labels)):
        for g in range(labels.shape[1]):
            if labels[image, g] < 0 or ignore[image, g]:
                continue
            box = boxes[image, g]
            distance = ((centers - (box[:2] + box[2:]) / 2) ** 2).sum(1)
            candidates, start = [], 0
            for level in anchors.levels:
                nearest = distance[start : start + level.count].sort(stable=True).indices
                candidates += (start + nearest[: top * len(level.shapes)]).tolist()
                start += level.count
            iou = box_iou(box[None], anchors.boxes[candidates])[0]
            threshold = iou.mean() + (iou.std() if len(iou) > 1 else 0)
            for overlap, a in zip(iou, candidates, strict=True):
                x, y = centers[a]
                inside = box[0] < x < box[2] and box[1] < y < box[3]
                if overlap >= threshold and inside and overlap > best[image, a]:
                    best[image, a], gt_index[image, a] = overlap, g
    return gt_index, best


def random_targets(images, targets, size, seed):
    generator = torch.Generator().manual_seed(seed)
    sides = 8 + torch.rand(images, targets, 2, generator=generator) * 120
    corners = torch.rand(images, targets, 2, generator=generator) * (size - sides)
    labels = torch.randint(-1, 3, (images, targets), generator=generator)
    return torch.cat([corners, corners + sides], dim=-1), labels


def test_equals_the_paper():
    anchors = make_anchors(AnchorSpec.squares(), 192)
    boxes, labels = random_targets(3, 14, 192, seed=0)
    ignore = torch.zeros_like(labels, dtype=torch.bool)
    matches = match_atss(anchors, boxes, labels)
    gt_index, iou = reference(anchors, boxes, labels, ignore, top=9)
    assert (iou > 0).sum() > 50
    assert torch.equal(matches.gt_index, gt_index)
    assert torch.equal(matches.state, (iou > 0).to(torch.int8))
    torch.testing.assert_close(matches.iou, iou)


@pytest.mark.parametrize(
    ("spec", "grids"),
    [
        (AnchorSpec.squares((8, 16, 32, 64, 128)), None),
        (RPN, None),
        (AnchorSpec.squares((100,), 1.0), None),
        (AnchorSpec.torchvision([[16], [40, 50]], (1, 2), (9, 32)), None),
        (AnchorSpec.squares((8, 16)), [(7, 30), (12, 2)]),
    ],
    ids=["squares", "rpn", "small", "fitted", "given"],
)
@pytest.mark.parametrize("size", [(200, 70), (64, 300)])
def test_equals_the_paper_on_other_grids(spec, grids, size):
    anchors = make_anchors(spec, size, grids)
    boxes, labels = random_targets(2, 9, torch.tensor([size[1], size[0]]), seed=1)
    ignore = torch.rand(labels.shape, generator=torch.Generator().manual_seed(2)) < 0.2
    for top in (1, 4, 9):
        matches = match_atss(anchors, boxes, labels, top=top, ignore=ignore, ignore_ioa=2.0)
        gt_index, iou = reference(anchors, boxes, labels, ignore, top)
        assert torch.equal(matches.gt_index, gt_index)
        assert torch.equal(matches.state, (iou > 0).to(torch.int8))


def test_ties_go_to_the_earlier_cell_and_the_earlier_target():
    anchors = make_anchors(AnchorSpec.squares((10,), 1.0), (10, 40))
    # The center lies between the second and the third cell; two identical targets want the same anchor.
    boxes = torch.tensor([[[5.0, 0.0, 35.0, 10.0], [5.0, 0.0, 35.0, 10.0]]])
    matches = match_atss(anchors, boxes, torch.tensor([[3, 3]]), top=1)
    assert matches.state.tolist() == [[0, 1, 0, 0]]
    assert matches.gt_index.tolist() == [[0, 0, 0, 0]]
    assert matches.iou.tolist()[0] == pytest.approx([0, 1 / 3, 0, 0])


def test_a_target_that_holds_no_center_has_no_anchor():
    anchors = make_anchors(AnchorSpec.squares((16,)), 64)
    boxes = torch.tensor([[[10.0, 10.0, 14.0, 14.0], [9.0, 9.0, 9.5, 9.5]]])
    matches = match_atss(anchors, boxes, torch.tensor([[0, 0]]))
    assert not any(field.any() for field in matches)


@pytest.mark.parametrize("side", range(4))
def test_a_center_on_the_edge_is_outside(side):
    """One anchor, whose IoU is the mean of all; its center is (5, 5)."""
    anchors = make_anchors(AnchorSpec.squares((10,), 1.0), 10)
    for edge, inside in ((4.9, True), (5.0, False)) if side < 2 else ((5.1, True), (5.0, False)):
        box = torch.tensor([0.0, 0.0, 10.0, 10.0])
        box[side] = edge
        matches = match_atss(anchors, box[None, None], torch.tensor([[0]]))
        assert matches.state.item() == inside


def test_padding_is_never_matched():
    anchors = make_anchors(AnchorSpec.squares(), 96)
    boxes, labels = random_targets(2, 5, 96, seed=3)
    plain = match_atss(anchors, boxes, labels)
    padding = torch.tensor([[0.0, 0.0, 96.0, 96.0]]).expand(2, 4, 4)
    padded = match_atss(anchors, torch.cat([boxes, padding], 1), torch.cat([labels, torch.full((2, 4), -1)], 1))
    assert all(torch.equal(a, b) for a, b in zip(plain, padded, strict=True))


def test_negatives_under_ignored_boxes_are_set_aside():
    anchors = make_anchors(AnchorSpec.squares((16,), 1.0), 64)
    boxes = torch.tensor([[[0.0, 0.0, 16.0, 16.0], [0.0, 0.0, 40.0, 16.0]]])
    labels, ignore = torch.tensor([[0, 1]]), torch.tensor([[False, True]])
    matches = match_atss(anchors, boxes, labels, ignore=ignore)
    assert matches.state[0, :5].tolist() == [1, -1, -1, 0, 0]  # the third is covered by half
    assert not matches.state[0, 5:].any()
    assert match_atss(anchors, boxes, labels, ignore=ignore, ignore_ioa=0.6).state[0, :4].tolist() == [1, -1, 0, 0]


def test_no_targets():
    anchors = make_anchors(AnchorSpec.squares(), 64)
    matches = match_atss(anchors, torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.int64))
    assert matches.state.shape == (2, len(anchors))
    assert [field.dtype for field in matches] == [torch.int64, torch.int8, torch.float32]
    assert not matches.state.any()


def test_errors():
    anchors = make_anchors(AnchorSpec.squares(), 64)
    with pytest.raises(ValueError, match="Expected top >= 1"):
        match_atss(anchors, torch.zeros(2, 1, 4), torch.zeros(2, 1, dtype=torch.int64), top=0)
    with pytest.raises(ValueError, match=r"Expected boxes \(B, G, 4\) and labels \(B, G\)"):
        match_atss(anchors, torch.zeros(2, 1, 4), torch.zeros(2, 2, dtype=torch.int64))
