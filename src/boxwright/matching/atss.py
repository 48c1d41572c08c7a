"""ATSS: adaptive training sample selection (Zhang et al. 2020, arXiv 1912.02424, algorithm 1)."""

from __future__ import annotations

import torch
from torch import Tensor

from boxwright.anchors import AnchorLevel, Anchors
from boxwright.boxes import paired_iou
from boxwright.matching._common import best_of, prepare, set_aside_ignored
from boxwright.parts import matcher
from boxwright.types import Matches


@matcher(needs=("grid",))
@torch.no_grad()
def match_atss(
    anchors: Anchors,
    boxes: Tensor,
    labels: Tensor,
    *,
    top: int = 9,
    ignore: Tensor | None = None,
    ignore_ioa: float = 0.5,
) -> Matches:
    """Match each target with those of its nearest anchors that overlap it best.

    The candidates of a target are all anchors on the ``top`` cells of each level whose centers are nearest (ties: the
    earlier cell). A candidate is positive if its IoU reaches the mean + standard deviation (n - 1) over the target's
    candidates and its center is inside the target. An anchor chosen by several targets answers for the one with the
    highest IoU (ties: the first). All others are negative, or -1 under an ignored box. As in the paper, a target that
    contains no anchor's center, or loses all its candidates, gets none.

    The cost is targets x levels x top^2, whatever the number of anchors.

    Args:
        anchors: Anchors of the image.
        boxes: Targets (B, G, 4) in the anchors' pixels.
        labels: Classes (B, G) int64, -1 for padding.
        top: Number of cells per level.
        ignore: Boxes (B, G) bool that are not matched, such as crowds.
        ignore_ioa: Share of an anchor's area inside an ignored box from which on it is ignored.

    Returns:
        Matches (B, A); gt_index and iou are 0 where not positive.

    Raises:
        ValueError: If the shapes do not fit.

    Examples:
        >>> anchors = bw.anchors.make_anchors(bw.anchors.AnchorSpec.squares((8, 16), 4), 64)
        >>> boxes, labels = torch.tensor([[[10.0, 10, 40, 40]]]), torch.tensor([[0]])
        >>> bw.matching.match_atss(anchors, boxes, labels, top=3).state.sum()
        tensor(1)
    """
    if top < 1:
        raise ValueError(f"Expected top >= 1 but got {top}")
    reference, boxes, real = prepare(anchors, boxes, labels, ignore)
    images, total = len(labels), len(anchors)
    if not labels.numel():
        none = torch.zeros(images, total, dtype=torch.int64, device=boxes.device)
        return Matches(none, none.to(torch.int8), none.float())
    candidates = _candidates(anchors, boxes, top)  # (B, G, C)
    iou, positive = _select(reference.boxes[candidates], boxes)
    iou = iou * (positive & real.unsqueeze(-1))
    place = torch.arange(images, device=boxes.device).view(-1, 1, 1) * total + candidates
    target = torch.arange(labels.shape[1], device=boxes.device).view(1, -1, 1).expand(place.shape)
    best = best_of(place.flatten(), iou.flatten(), target.flatten(), images * total)
    overlap, gt_index = best.iou.view(images, total), best.partner.view(images, total)
    state = set_aside_ignored((overlap > 0).to(torch.int8), reference, boxes, labels, ignore, ignore_ioa)
    return Matches(gt_index, state, overlap.float())


def _candidates(anchors: Anchors, boxes: Tensor, top: int) -> Tensor:
    """Find the anchors on the ``top`` nearest cells of every level, indices (B, G, C)."""
    centers = (boxes[..., :2] + boxes[..., 2:]) / 2
    found, start = [], 0
    for level in anchors.levels:
        shapes = torch.arange(len(level.shapes), device=boxes.device)
        cells = _nearest_cells(level, centers, top)
        found.append((start + cells.unsqueeze(-1) * len(shapes) + shapes).flatten(-2))
        start += level.count
    return torch.cat(found, dim=-1)


def _nearest_cells(level: AnchorLevel, centers: Tensor, top: int) -> Tensor:
    """Find the cells of a level nearest to ``centers`` (..., 2): row-major indices (..., k), k = min(top, cells).

    They lie within the ``top`` nearest rows and columns: a cell further away has ``top`` nearer ones in its own row or
    column. Distance and cell share one integer key, so that ties go to the earlier cell on every device.
    """
    rows, columns = level.grid
    x, dx = _nearest_lines(centers[..., 0] / level.pitch[1] - level.offset, columns, top)
    y, dy = _nearest_lines(centers[..., 1] / level.pitch[0] - level.offset, rows, top)
    distance = (dy.unsqueeze(-1) * (level.pitch[0] / level.pitch[1]) ** 2 + dx.unsqueeze(-2)).flatten(-2)
    cell = (y.unsqueeze(-1) * columns + x.unsqueeze(-2)).flatten(-2)
    key = (distance.float().view(torch.int32).long() << 32) | cell
    nearest = key.topk(min(top, distance.shape[-1]), largest=False).values
    return nearest & 0xFFFFFFFF


def _nearest_lines(place: Tensor, lines: int, top: int) -> tuple[Tensor, Tensor]:
    """Find the ``top`` lines (..., t) nearest to a position in cells, by rising index, with their squared distances."""
    count = min(top, lines)
    first = (place - count / 2).ceil().clamp(0, lines - count)
    index = first.unsqueeze(-1) + torch.arange(count, dtype=first.dtype, device=first.device)
    return index.long(), (index - place.unsqueeze(-1)) ** 2


def _select(candidates: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the IoU (B, G, C) of candidates (B, G, C, 4) with their targets, and which of them are positive."""
    targets = boxes.unsqueeze(2)
    iou = paired_iou(targets, candidates)
    spread = iou.std(-1, keepdim=True) if iou.shape[-1] > 1 else torch.zeros_like(iou)
    centers = (candidates[..., :2] + candidates[..., 2:]) / 2
    inside = ((centers > targets[..., :2]) & (centers < targets[..., 2:])).all(-1)
    return iou, (iou >= iou.mean(-1, keepdim=True) + spread) & inside
