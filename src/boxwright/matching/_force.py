"""Rules that give a target an anchor which its IoU alone would not earn.

Each returns ``Forced``: which anchors, of which image, answer for which target. No anchor is in it twice.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from boxwright.matching._overlaps import Best, best_of


class Forced(NamedTuple):
    """n anchors that are positive by rule; all (n,) int64."""

    image: Tensor
    target: Tensor
    anchor: Tensor


class Overlaps(Protocol):
    """Overlaps of A anchors with the real among the targets (B, G): see ``BlockOverlaps``."""

    real: Tensor
    floor: float
    count: int

    @property
    def of_anchors(self) -> Best: ...

    @property
    def of_targets(self) -> Best: ...

    def reached(self) -> tuple[Tensor, Tensor]: ...

    def targets_of(self, image: Tensor, anchor: Tensor) -> Tensor: ...

    def next_anchors(self, image: Tensor, target: Tensor, before: Best) -> Best: ...

    def between(self, image: Tensor, target: Tensor, anchor: Tensor) -> Tensor: ...

    def usable(self, anchor: Tensor | slice) -> Tensor: ...

    def distances(self, image: Tensor, target: Tensor) -> Tensor: ...


def force_ties(overlaps: Overlaps) -> Forced:
    """Every anchor that reaches some target's best IoU keeps its own best target; a best IoU of 0 forces nothing."""
    image, anchor = overlaps.reached()
    return Forced(image, overlaps.targets_of(image, anchor), anchor)


def force_last(overlaps: Overlaps) -> Forced:
    """Each target takes its best anchor, whatever the IoU; of several that want one anchor the last target wins."""
    image, target = overlaps.real.nonzero(as_tuple=True)
    anchor = overlaps.of_targets.partner[image, target]
    wins = _winners(image, anchor, overlaps.count, torch.ones_like(target, dtype=torch.float32), -target)
    wins &= overlaps.usable(anchor)  # without any overlap the best anchor is the first, whatever it is
    return Forced(image[wins], target[wins], anchor[wins])


def force_bipartite(overlaps: Overlaps) -> Forced:
    """Greedy one-to-one matching: pairs by falling IoU, then target index, then anchor index.

    Found by deferred acceptance (Gale & Shapley 1962): each target asks for its best anchor, each anchor keeps the best
    of those that ask, and who is turned down asks for its next best. As one order ranks all pairs for both sides, there
    is one stable matching, the greedy one. Targets that no anchor which they overlap keeps take, by target index, the
    free one whose centre is nearest.
    """
    total = overlaps.count
    asked = Best(*(side.clone() for side in overlaps.of_targets))
    while True:
        image, target = (asked.iou > 0).nonzero(as_tuple=True)
        iou, anchor = asked.iou[image, target], asked.partner[image, target]
        loses = ~_winners(image, anchor, total, iou, target)
        if not loses.any():
            break
        image, target = image[loses], target[loses]
        found = overlaps.next_anchors(image, target, Best(iou[loses], anchor[loses]))
        asked.iou[image, target], asked.partner[image, target] = found
    return _with_nearest(overlaps, overlaps.real & (asked.iou <= 0), Forced(image, target, anchor))


def _winners(image: Tensor, anchor: Tensor, total: int, iou: Tensor, rank: Tensor) -> Tensor:
    """(n,) bool: who gets the anchor that it asks for: the highest IoU above 0, then the lowest rank."""
    _, contest = torch.unique(image * total + anchor, return_inverse=True)
    return best_of(contest, iou, rank, len(contest)).partner[contest] == rank


def _with_nearest(overlaps: Overlaps, remaining: Tensor, forced: Forced) -> Forced:
    """Give the remaining targets (B, G), in turn, the free anchor with the nearest centre.

    The n-th remaining target of every image is served at once. Runs dry where there are more targets than anchors, and
    where distances are unknown.
    """
    if not remaining.any():
        return forced
    taken = torch.zeros(len(remaining), overlaps.count, dtype=torch.bool, device=remaining.device)
    taken[forced.image, forced.anchor] = True
    turn = torch.where(remaining, remaining.cumsum(1), 0)
    parts = [forced]
    for n in range(1, int(turn.max()) + 1):
        image, target = (turn == n).nonzero(as_tuple=True)
        nearest = overlaps.distances(image, target).masked_fill_(taken[image], torch.inf).min(dim=1)
        free = nearest.values < torch.inf
        parts.append(Forced(image[free], target[free], nearest.indices[free]))
        taken[parts[-1].image, parts[-1].anchor] = True
    return Forced(*map(torch.cat, zip(*parts, strict=True)))
