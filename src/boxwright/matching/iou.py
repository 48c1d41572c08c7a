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

_LEAST_FLOOR = 0.01  # with a lower threshold nearly every overlapping anchor would be looked at anyway
_LEAST_ELEMENTS = 1 << 17  # anchors x targets below which the whole matrix is faster


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

    ``force`` makes anchors positive regardless of the thresholds:

    - "bipartite": SSD's first step (arXiv 1512.02325, section 2.2) as its authors implemented it: pairs by falling IoU,
      then target, then anchor. Every target gets an anchor of its own as long as there are enough; a target that
      overlaps no free anchor gets the free one with the nearest center.
    - "ties": every anchor that reaches some target's best IoU (> 0) answers for its own best target (the low-quality
      rule of Faster R-CNN's RPN, arXiv 1506.01497, section 3.1.2).
    - "last": torchvision's SSDMatcher with its faults: each target takes its best anchor even at IoU 0; of two targets
      with the same best anchor the later one wins and the other may get none.
    - None: thresholds only.

    On the CPU, many targets on regular grids of anchors are compared only with the cells that can reach ``negative`` or
    their best IoU. Otherwise (few targets, plain boxes, clipped corners, ``negative`` below .01, or a device) the IoU
    matrix is computed block by block. All ways give the same bits.

    Args:
        anchors: Anchors of the image, or their boxes (A, 4).
        boxes: Targets (B, G, 4) in the anchors' pixels.
        labels: Classes (B, G) int64, -1 for padding.
        positive: State 1 where IoU >= this.
        negative: State 0 where IoU < this; -1 (ignored) between the two.
        strict: Require IoU > ``positive``.
        force: See above.
        ignore: Boxes (B, G) bool that are not matched, such as crowds.
        ignore_ioa: A negative is ignored where intersection / anchor area with an ignored box reaches this.

    Returns:
        Matches (B, A). gt_index and iou are 0 below ``negative``, except for forced anchors, which hold the target they
        answer for and their IoU with it.

    Raises:
        ValueError: If the thresholds are out of order, the rule is unknown or shapes do not fit.

    Examples:
        >>> anchors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 12, 10], [20, 20, 30, 30]])
        >>> boxes, labels = torch.tensor([[[0.0, 0, 10, 10]]]), torch.tensor([[0]])
        >>> bw.matching.match_iou(anchors, boxes, labels, positive=0.7, negative=0.3).state
        tensor([[1, 1, 0]], dtype=torch.int8)
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
    """Match by the thresholds and rules of ``match_iou``, with your own matrix in place of the IoU.

    With the IoU of all pairs as quality the result equals ``match_iou``'s, with one exception: positions are unknown,
    so "bipartite" leaves a target without an anchor where the quality of all free anchors is 0.

    Args:
        quality: How well each anchor suits each target, (B, G, A), at least 0. ``Matches.iou`` returns it.
        labels: Classes (B, G) int64, -1 for padding and for targets to be ignored.
        positive: State 1 where the quality >= this.
        negative: State 0 where the quality < this; -1 (ignored) between the two.
        strict: Require quality > ``positive``.
        force: As in ``match_iou``.

    Raises:
        ValueError: If the thresholds are out of order, the rule is unknown or shapes do not fit; in eager calls on the
            CPU also if a quality is negative, infinite or NaN.

    Examples:
        >>> quality = torch.tensor([[[0.9, 0.2, 0.0]]])
        >>> bw.matching.match_quality(quality, torch.tensor([[0]]), positive=0.7, negative=0.3).state
        tensor([[1, 0, 0]], dtype=torch.int8)
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
    """Find the anchor that overlaps each target most (ties: the first); arguments as for ``match_iou``.

    Returns:
        IoU (B, G) and anchor (B, G) int64; -1 and 0 for padding and ignored boxes.

    Raises:
        ValueError: If the shapes do not fit.

    Examples:
        >>> anchors = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])
        >>> bw.matching.best_anchors(anchors, torch.tensor([[[20.0, 20, 30, 40]]]), torch.tensor([[0]]))
        Best(iou=tensor([[0.5000]]), partner=tensor([[1]]))
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
    """Match by thresholds, the negative one being ``overlaps.floor``, and by force."""
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
    # Overwritten, as nothing needs the old values: allocating memory costs more than the computation.
    iou = iou.mul_(known)
    if real.shape[1] > 1:  # the only target's index is 0
        gt_index = gt_index.mul_(known)
    above = torch.gt if strict else torch.ge
    reached = known if positive == floor > 0 and not strict else above(iou, positive)
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
    """Make the forced anchors of the targets (B, G) positive where ``held``."""
    anchor, iou = pairs.partner, pairs.iou.float()
    target = torch.arange(anchor.shape[1], device=anchor.device).expand(anchor.shape)
    gt_index, state, known = matches
    if held is None:
        return Matches(
            gt_index.scatter_(1, anchor, target), state.scatter_(1, anchor, 1), known.scatter_(1, anchor, iou)
        )
    count = state.shape[1]
    anchor = torch.where(held, anchor, count)  # one more column, for targets without an anchor
    values = (target, held.to(torch.int8), iou.clamp(min=0))
    wider = (pad(old, (0, 1)).scatter_(1, anchor, new) for old, new in zip(matches, values, strict=True))
    return Matches(*(columns[:, :count].contiguous() for columns in wider))


def _last(overlaps: Overlaps) -> tuple[Best, Tensor | None]:
    """Give each target its best anchor, whatever the IoU; of several that want the same anchor the last wins.

    Returns the anchor of each target (B, G) and which of them hold, as ``_bipartite`` does.
    """
    best, real = overlaps.of_targets, overlaps.real
    # without any overlap the best anchor is the first
    held = real & overlaps.usable(best.partner)
    if real.shape[1] > 1:
        held &= ~_wanted_later(best.partner, real)
    return best, None if is_near(held) and held.all() else held


def _bipartite(overlaps: Overlaps) -> tuple[Best, Tensor | None]:
    """Match greedily one to one: pairs by falling IoU, then target index, then anchor index.

    Targets for which no overlapping anchor is left take, by target index, the free one with the nearest center. Returns
    an anchor and IoU for each target (B, G), and which of these hold, (B, G) bool or None if all are known to.
    """
    found = overlaps.of_targets
    if isinstance(overlaps, DenseOverlaps) and not is_near(overlaps.real):
        found = _pair_by_pair(overlaps)
    elif found.iou.shape[1] > 1 and _wanted_later(found.partner, found.iou > 0).any():
        found = _deferred(overlaps)
    if is_near(found.iou) and found.iou.min().item() > 0:
        return found, None
    return _with_nearest(overlaps, found, found.iou > 0)


def _deferred(overlaps: Overlaps) -> Best:
    """Find the greedy pairs (B, G), IoU 0 or below where a target has none; reads values between its rounds.

    Uses deferred acceptance (Gale & Shapley 1962): each target asks its best anchor, each anchor keeps the best of the
    targets that ask, and a rejected target asks its next best. Since both sides rank pairs by the same order, there is
    only one stable matching, the greedy one.
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
    """Find the same pairs one at a time, one of every image in each of G rounds, without reading any value.

    A target always gets one of its G best anchors, since the others take at most G - 1.
    """
    images, targets = overlaps.real.shape
    iou, anchor = overlaps.top_anchors(targets)  # (B, G, k)
    iou, order = iou.flatten(1).sort(dim=1, descending=True, stable=True)  # (B, P), ties by target, then by anchor
    owner = torch.arange(targets, device=iou.device).view(1, -1, 1).expand(anchor.shape)
    # (2, B, P) the target and the anchor that a pair takes
    sides = torch.stack([owner, anchor]).flatten(2).gather(2, order.expand(2, -1, -1))
    rank = torch.arange(order.shape[1], 0, -1, device=iou.device) * (iou > 0)  # the first pairs rank highest
    rounds = []
    for _ in range(targets):
        left, place = rank.max(1, keepdim=True)  # (B, 1)
        taken = sides.gather(2, place.expand(2, -1, -1))  # (2, B, 1)
        rank.mul_((sides != taken).all(0))
        rounds.append((left, place, *taken))
    left, place, target, anchor = (torch.cat(columns, 1) for columns in zip(*rounds, strict=True))  # (B, G)
    target = target.where(left > 0, targets)  # one more column, for pairs that do not exist
    found = Best(iou.new_full((images, targets + 1), -1.0), anchor.new_zeros(images, targets + 1))
    found.iou.scatter_(1, target, iou.gather(1, place))
    found.partner.scatter_(1, target, anchor)
    return Best(found.iou[:, :-1], found.partner[:, :-1])


def _wanted_later(anchor: Tensor, wants: Tensor) -> Tensor:
    """Tell whether a later target that ``wants`` (B, G) has the same anchor (B, G)."""
    same = (anchor.unsqueeze(2) == anchor.unsqueeze(1)) & wants.unsqueeze(1) & wants.unsqueeze(2)
    return same.triu(1).any(2)


def _with_nearest(overlaps: Overlaps, found: Best, held: Tensor) -> tuple[Best, Tensor]:
    """Give each target without an anchor, in turn, the free anchor with the nearest center.

    Stops where there are more targets than anchors, and where distances are unknown.
    """
    remaining, count = overlaps.real & ~held, overlaps.count
    # one more column, for targets that take none
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
        for distance in torch.cat([distances, none.unsqueeze(-1)], dim=2).unbind(1):  # (B, A + 1), target by target
            distance[:, :-1].masked_fill_(taken[:, :-1], torch.inf)
            columns.append(distance.argmin(1, keepdim=True))
            taken.scatter_(1, columns[-1], True)
        chosen[:, part] = torch.cat(columns, 1)
    free = chosen < count
    return Best(found.iou, torch.where(free, chosen, found.partner)), held | free


_FORCE = {"bipartite": _bipartite, "last": _last}
