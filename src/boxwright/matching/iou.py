"""Matching by IoU thresholds: SSD, RetinaNet, RPN."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import pad

from boxwright._util.checks import AXES, check_labels, check_within
from boxwright._util.devices import is_near
from boxwright.anchors import Anchors
from boxwright.boxes import Corners
from boxwright.matching._common import (
    Best,
    BoxOverlaps,
    DenseOverlaps,
    MatrixOverlaps,
    Overlaps,
    best_of,
    block_size,
    prepare,
    set_aside_ignored,
)
from boxwright.matching._grid import GridOverlaps
from boxwright.parts import matcher
from boxwright.types import Matches

ForceRule = Literal["bipartite", "ties", "last"]

_LEAST_FLOOR = 0.01  # with a lower one nearly every anchor that overlaps would be looked at
_LEAST_ELEMENTS = 1 << 17  # anchors x targets below which the whole matrix is sooner done


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
    reference, boxes, real = prepare(anchors, boxes, labels, ignore)
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
    reference, boxes, real = prepare(anchors, boxes, labels, ignore)
    return _overlaps(anchors, reference, boxes, real, 1.0, forces=True).of_targets


def _check_rule(positive: float, negative: float, force: str | None) -> None:
    if not 0 <= max(negative, 0) <= positive:
        raise ValueError(f"Expected negative <= positive and positive >= 0 but got {negative} and {positive}")
    if force is not None and force not in get_args(ForceRule):
        raise ValueError(f"Expected force to be None or out of {get_args(ForceRule)} but got {force!r}")


def _overlaps(
    anchors: Anchors | Tensor, reference: Corners, boxes: Tensor, real: Tensor, floor: float, *, forces: bool
) -> Overlaps:
    elements = real.numel() * len(reference.boxes)
    pays = elements >= max(_LEAST_ELEMENTS, 1) and floor >= _LEAST_FLOOR and boxes.dtype == torch.float32
    pays = pays and is_near(boxes)
    if pays and isinstance(anchors, Anchors) and anchors.regular and math.isfinite(anchors.grid_shapes.slack):
        return GridOverlaps(anchors, boxes, real, floor, forces=forces)
    return BoxOverlaps(reference, boxes, real, floor)


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


def _last(overlaps: Overlaps) -> tuple[Best, Tensor | None]:
    """Each target takes its best anchor, whatever the IoU; of several that want one anchor the last target wins.

    An anchor for each target (B, G), and which of them hold, as for ``_bipartite``.
    """
    best, real = overlaps.of_targets, overlaps.real
    # without any overlap the best anchor is the first, whatever it is
    held = real & ~_wanted_later(best.partner, real) & overlaps.usable(best.partner)
    return best, None if is_near(held) and held.all() else held


def _bipartite(overlaps: Overlaps) -> tuple[Best, Tensor | None]:
    """Greedy one-to-one matching: pairs by falling IoU, then target index, then anchor index.

    Targets that no anchor which they overlap is left for take, by target index, the free one whose centre is nearest.
    An anchor for each target (B, G) with their IoU, and (B, G) bool, which of these hold; None: all, as is known.
    """
    found = overlaps.of_targets
    if isinstance(overlaps, DenseOverlaps) and not is_near(overlaps.real):
        found = _pair_by_pair(overlaps)
    elif found.iou.shape[1] > 1 and _wanted_later(found.partner, found.iou > 0).any():
        found = _deferred(overlaps)
    held = found.iou > 0
    return (found, None) if is_near(held) and held.all() else _with_nearest(overlaps, found, held)


def _deferred(overlaps: Overlaps) -> Best:
    """(B, G) the greedy pairs, IoU 0 and below where a target has none; looks at values between its rounds.

    Found by deferred acceptance (Gale & Shapley 1962): each target asks for its best anchor, each anchor keeps the best
    of those that ask, and who is turned down asks for its next best. As one order ranks all pairs for both sides, there
    is one stable matching, the greedy one.
    """
    asked = Best(*(side.clone() for side in overlaps.of_targets))
    while True:
        image, target = (asked.iou > 0).nonzero(as_tuple=True)
        iou, anchor = asked.iou[image, target], asked.partner[image, target]
        _, contest = torch.unique(image * overlaps.count + anchor, return_inverse=True)
        loses = best_of(contest, iou, target, len(contest)).partner[contest] != target
        if not loses.any():
            return asked
        image, target = image[loses], target[loses]
        found = overlaps.next_anchors(image, target, Best(iou[loses], anchor[loses]))
        asked.iou[image, target], asked.partner[image, target] = found


def _pair_by_pair(overlaps: DenseOverlaps) -> Best:
    """The same pair by pair, one of every image in each of G rounds, without a look at any value.

    A target gets one of its G best anchors, as the others take fewer.
    """
    images, targets = overlaps.real.shape
    iou, anchor = overlaps.top_anchors(targets)  # (B, G, k)
    iou, order = iou.flatten(1).sort(dim=1, descending=True, stable=True)  # (B, P), ties by target, then by anchor
    owner = torch.arange(targets, device=iou.device).view(1, -1, 1).expand(anchor.shape)
    sides = torch.stack([owner, anchor]).flatten(2).gather(2, order.expand(2, -1, -1))  # (2, B, P) what a pair takes
    rank = torch.arange(order.shape[1], 0, -1, device=iou.device) * (iou > 0)  # the first pairs have the highest
    rounds = []
    for _ in range(targets):
        left, place = rank.max(1, keepdim=True)  # (B, 1)
        taken = sides.gather(2, place.expand(2, -1, -1))  # (2, B, 1)
        rank.mul_((sides != taken).all(0))
        rounds.append((left, place, *taken))
    left, place, target, anchor = (torch.cat(columns, 1) for columns in zip(*rounds, strict=True))  # (B, G)
    target = target.where(left > 0, targets)  # a column more, for what was no pair
    found = Best(iou.new_full((images, targets + 1), -1.0), anchor.new_zeros(images, targets + 1))
    found.iou.scatter_(1, target, iou.gather(1, place))
    found.partner.scatter_(1, target, anchor)
    return Best(found.iou[:, :-1], found.partner[:, :-1])


def _wanted_later(anchor: Tensor, wants: Tensor) -> Tensor:
    """(B, G) bool: whether a later target that ``wants`` (B, G) has the same anchor (B, G), as this one does."""
    same = (anchor.unsqueeze(2) == anchor.unsqueeze(1)) & wants.unsqueeze(1) & wants.unsqueeze(2)
    return same.triu(1).any(2)


def _with_nearest(overlaps: Overlaps, found: Best, held: Tensor) -> tuple[Best, Tensor]:
    """Give the targets that hold none, in turn, the free anchor with the nearest centre.

    Runs dry where there are more targets than anchors, and where distances are unknown.
    """
    remaining, count = overlaps.real & ~held, overlaps.count
    # A column more, for those that take none
    taken = torch.zeros(len(held), count + 1, dtype=torch.bool, device=held.device)
    taken.scatter_(1, found.partner.where(held, count), True)
    chosen = torch.full_like(found.partner, count)
    size = 1 if is_near(held) else block_size(len(held) * count, held.device)
    for start in range(0, held.shape[1], size):
        part = slice(start, start + size)
        if is_near(remaining) and not remaining[:, part].any():
            continue
        distances = overlaps.distances(part)  # (B, g, A)
        if distances is None:
            break
        none = distances.new_full(distances.shape[:2], torch.finfo(distances.dtype).max)
        none.masked_fill_(~remaining[:, part], -1.0)
        columns = []
        for distance in torch.cat([distances, none.unsqueeze(-1)], dim=2).unbind(1):  # (B, A + 1), by target
            distance[:, :-1].masked_fill_(taken[:, :-1], torch.inf)
            columns.append(distance.argmin(1, keepdim=True))
            taken.scatter_(1, columns[-1], True)
        chosen[:, part] = torch.cat(columns, 1)
    free = chosen < count
    return Best(found.iou, torch.where(free, chosen, found.partner)), held | free


_FORCE = {"bipartite": _bipartite, "last": _last}
