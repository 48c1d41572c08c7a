"""Matching by IoU thresholds: SSD, RetinaNet, RPN."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import pad

from boxwright._util.checks import AXES, check_labels, check_within, is_near
from boxwright.anchors import Anchors
from boxwright.boxes import Corners
from boxwright.matching._common import prepare_anchors, prepare_targets, set_aside_ignored
from boxwright.matching._force import force_bipartite, force_last
from boxwright.matching._grid import GridOverlaps
from boxwright.matching._overlaps import Best, BoxOverlaps, MatrixOverlaps, Overlaps
from boxwright.parts import matcher
from boxwright.types import Matches

ForceRule = Literal["bipartite", "ties", "last"]

_LEAST_FLOOR = 0.01  # with a lower one nearly every anchor that overlaps would be looked at
_LEAST_ELEMENTS = 1 << 17  # anchors x targets below which the whole matrix is sooner done
_FORCE = {"bipartite": force_bipartite, "last": force_last}


@matcher()
@torch.no_grad()
def match_iou(
    anchors: Anchors | Tensor,
    boxes: Tensor,
    labels: Tensor,
    *,
    positive: float = 0.5,
    negative: float = 0.5,
    strict: bool = False,
    force: ForceRule | None = "bipartite",
    ignore: Tensor | None = None,
    ignore_ioa: float = 0.5,
) -> Matches:
    """Match each anchor with the target that it overlaps most (ties: the first), by thresholds on their IoU.

    boxes (B, G, 4) in the anchors' pixels, labels (B, G) with -1 for padding, ignore (B, G) bool. The state is 1 where
    IoU >= ``positive`` (``strict``: >), 0 where IoU < ``negative``, -1 between; a negative is -1 as well under an
    ignored box (intersection / anchor area >= ``ignore_ioa``). gt_index and iou are 0 below ``negative``, except for
    forced anchors, which have the target they answer for and their IoU with it.

    ``force`` makes anchors positive whatever the thresholds say:

    - "bipartite": SSD's first step (arXiv 1512.02325, section 2.2) as its authors run it: pairs by falling IoU, then
      target, then anchor. Every target gets an anchor of its own as long as there are enough; one that overlaps no free
      anchor gets the free one whose centre is nearest.
    - "ties": every anchor that reaches some target's best IoU (> 0) answers for its own best target (the low-quality
      rule of Faster R-CNN's RPN, arXiv 1506.01497, section 3.1.2).
    - "last": torchvision's SSDMatcher with its faults: each target takes its best anchor even at IoU 0, and of two
      targets with the same best anchor the later one wins and the other may end up without any.
    - None: thresholds alone.

    On the CPU, many targets on regular grids of anchors are compared only with the cells that can reach ``negative`` or
    their best IoU; otherwise (few, boxes alone, clipped corners, ``negative`` below .01) the IoU matrix is gone through
    block by block, and on devices so that nothing waits for them. All give the same bits.

    Raises ValueError for thresholds out of order, an unknown rule, or shapes.
    """
    _check_rule(positive, negative, force)
    boxes, real = prepare_targets(boxes, labels, ignore)
    reference = prepare_anchors(anchors)
    overlaps = _overlaps(anchors, reference, boxes, real, negative, forces=force is not None)
    gt_index, state, iou = _by_thresholds(overlaps, positive, strict, force)
    return Matches(gt_index, set_aside_ignored(state, reference, boxes, labels, ignore, ignore_ioa), iou)


@torch.no_grad()
def match_quality(
    quality: Tensor,
    labels: Tensor,
    *,
    positive: float = 0.5,
    negative: float = 0.5,
    strict: bool = False,
    force: ForceRule | None = "bipartite",
) -> Matches:
    """Match by the thresholds and rules of ``match_iou``, with a matrix of your own in place of the IoU.

    quality (B, G, A): how well each anchor suits each target, at least 0; labels (B, G) int64, -1 for padding, and for
    targets that are to be ignored. ``Matches.iou`` has the quality. With the IoU of all pairs as the quality the result
    is that of ``match_iou``, but for one thing: nothing is known of places, so "bipartite" leaves a target without an
    anchor where the quality of all free ones is 0.

    Raises ValueError for thresholds out of order, an unknown rule, or shapes, and in eager calls on the CPU for a
    quality that is negative, infinite or NaN.
    """
    _check_rule(positive, negative, force)
    if quality.ndim != 3 or labels.shape != quality.shape[:2] or not quality.is_floating_point():
        raise ValueError(
            f"Expected quality (B, G, A) of floats and labels (B, G) but got {quality.dtype} {tuple(quality.shape)} "
            f"and {tuple(labels.shape)}"
        )
    check_labels(labels, -1, None, " (-1 is padding)", AXES)
    check_within(quality, 0, torch.finfo(quality.dtype).max, "quality", (*AXES, "anchor"))
    return _by_thresholds(MatrixOverlaps(quality.detach(), labels >= 0, negative), positive, strict, force)


@torch.no_grad()
def best_anchors(
    anchors: Anchors | Tensor, boxes: Tensor, labels: Tensor, ignore: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The anchor that overlaps each target most (ties: the first), arguments as for ``match_iou``.

    IoU (B, G) and anchor (B, G) int64; -1 and 0 for padding and ignored boxes. Raises ValueError for other shapes.
    """
    boxes, real = prepare_targets(boxes, labels, ignore)
    reference = prepare_anchors(anchors)
    if not real.numel() or not len(reference.boxes):
        return torch.full(real.shape, -1.0, device=boxes.device), torch.zeros_like(labels)
    return _overlaps(anchors, reference, boxes, real, 1.0, forces=True).of_targets


def _check_rule(positive: float, negative: float, force: str | None) -> None:
    if not 0 <= max(negative, 0) <= positive:
        raise ValueError(f"Expected negative <= positive and positive >= 0 but got {negative} and {positive}")
    if force is not None and force not in get_args(ForceRule):
        raise ValueError(f"Expected force to be None or out of {get_args(ForceRule)} but got {force!r}")


def _by_thresholds(overlaps: Overlaps, positive: float, strict: bool, force: ForceRule | None) -> Matches:
    """Matches by thresholds, of which ``overlaps.floor`` is the negative one, and by force."""
    real, count, floor = overlaps.real, overlaps.count, overlaps.floor
    if not real.numel() or not count:
        none = torch.zeros(len(real), count, dtype=torch.int64, device=real.device)
        return Matches(none, none.to(torch.int8), none.float())
    forced = _FORCE[force](overlaps) if force in _FORCE else None
    tied, (iou, gt_index) = overlaps.tied() if force == "ties" else (None, overlaps.of_anchors)
    known = iou >= max(floor, 0)
    if tied is not None:
        known |= tied
    if not overlaps.complete:
        iou = iou.clamp_(min=0)
    # Written over, as nothing asks for them again: memory that is new costs more than what is computed
    iou, gt_index = iou.mul_(known), gt_index.mul_(known)
    reached = iou > positive if strict else iou >= positive
    if positive <= 0:
        reached &= real.any(1, keepdim=True) & overlaps.usable(slice(None))
    if tied is not None:
        reached |= tied
    state = reached.to(torch.int8)
    if strict or floor < positive or floor <= 0:
        state -= ((iou >= floor) & ~reached).to(torch.int8)
    matches = Matches(gt_index, state, iou.float())
    return _with_forced(matches, *forced) if forced else matches


def _with_forced(matches: Matches, pairs: Best, held: Tensor | None) -> Matches:
    """Matches where the anchors that the targets (B, G) have by force, where that ``held``, are positive."""
    anchor, iou = pairs.partner, pairs.iou.float()
    target = torch.arange(anchor.shape[1], device=anchor.device).expand(anchor.shape)
    gt_index, state, known = matches
    if held is None:
        return Matches(
            gt_index.scatter_(1, anchor, target), state.scatter_(1, anchor, 1), known.scatter_(1, anchor, iou)
        )
    count = state.shape[1]
    anchor = torch.where(held, anchor, count)  # a column more, for those that have none
    values = (target, held.to(torch.int8), iou.clamp(min=0))
    wider = (pad(old, (0, 1)).scatter_(1, anchor, new) for old, new in zip(matches, values, strict=True))
    return Matches(*(columns[:, :count].contiguous() for columns in wider))


def _overlaps(
    anchors: Anchors | Tensor, reference: Corners, boxes: Tensor, real: Tensor, floor: float, *, forces: bool
) -> Overlaps:
    elements = real.numel() * len(reference.boxes)
    pays = elements >= max(_LEAST_ELEMENTS, 1) and floor >= _LEAST_FLOOR and boxes.dtype == torch.float32
    pays = pays and is_near(boxes)
    if pays and isinstance(anchors, Anchors) and anchors.regular and math.isfinite(anchors.grid_shapes.slack):
        return GridOverlaps(anchors, boxes, real, floor, forces=forces)
    return BoxOverlaps(reference, boxes, real, floor)
