import torch

from boxwright.anchors import AnchorSpec, make_anchors
from boxwright.boxes import box_iou
from boxwright.matching import match_atss


def reference(anchors, boxes, labels, ignore, top):
    """Algorithm 1 of the paper, one image and one target at a time."""
    centres = (anchors.boxes[:, :2] + anchors.boxes[:, 2:]) / 2
    gt_index = torch.zeros(len(labels), len(anchors), dtype=torch.int64)
    best = torch.zeros(len(labels), len(anchors))
    for image in range(len(labels)):
        for g in range(labels.shape[1]):
            if labels[image, g] < 0 or ignore[image, g]:
                continue
            box = boxes[image, g]
            distance = ((centres - (box[:2] + box[2:]) / 2) ** 2).sum(1)
            candidates, start = [], 0
            for level in anchors.levels:
                nearest = distance[start : start + level.count].sort(stable=True).indices
                candidates += (start + nearest[: top * len(level.shapes)]).tolist()
                start += level.count
            iou = box_iou(box[None], anchors.boxes[candidates])[0]
            threshold = iou.mean() + iou.std()
            for overlap, a in zip(iou, candidates, strict=True):
                x, y = centres[a]
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


def test_no_targets():
    anchors = make_anchors(AnchorSpec.squares(), 64)
    matches = match_atss(anchors, torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.int64))
    assert matches.state.shape == (2, len(anchors))
    assert not matches.state.any()
