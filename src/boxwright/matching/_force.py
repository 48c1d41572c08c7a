"""Rules that give a target an anchor which its IoU alone would not earn."""

from __future__ import annotations

import torch
from torch import Tensor

from boxwright._util.checks import all_near, is_near, none_near
from boxwright.matching._overlaps import Best, DenseOverlaps, Overlaps, best_of


def force_last(overlaps: Overlaps) -> tuple[Best, Tensor | None]:
    """Each target takes its best anchor, whatever the IoU; of several that want one anchor the last target wins.

    An anchor for each target (B, G), and which of them hold, as for ``force_bipartite``.
    """
    best, real = overlaps.of_targets, overlaps.real
    # without any overlap the best anchor is the first, whatever it is
    held = real & ~_wanted_later(best.partner, real) & overlaps.usable(best.partner)
    return best, None if all_near(held) else held


def force_bipartite(overlaps: Overlaps) -> tuple[Best, Tensor | None]:
    """Greedy one-to-one matching: pairs by falling IoU, then target index, then anchor index.

    Targets that no anchor which they overlap is left for take, by target index, the free one whose centre is nearest.
    An anchor for each target (B, G) with their IoU, and (B, G) bool, which of these hold; None: all, as is known.
    """
    if isinstance(overlaps, DenseOverlaps) and not is_near(overlaps.real):
        found = _greedy(overlaps)
    else:
        found = _deferred(overlaps)
    held = found.iou > 0
    return (found, None) if all_near(held) else _with_nearest(overlaps, found, held)


def _deferred(overlaps: Overlaps) -> Best:
    """(B, G) the greedy pairs, IoU 0 and below where a target has none; looks at values between its rounds.

    Found by deferred acceptance (Gale & Shapley 1962): each target asks for its best anchor, each anchor keeps the best
    of those that ask, and who is turned down asks for its next best. As one order ranks all pairs for both sides, there
    is one stable matching, the greedy one.
    """
    asked = overlaps.of_targets
    if asked.iou.shape[1] == 1 or not _wanted_later(asked.partner, asked.iou > 0).any():
        return asked
    asked = Best(*(side.clone() for side in asked))
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


def _greedy(overlaps: DenseOverlaps) -> Best:
    """The same pair by pair, one of every image in each of G rounds, without a look at any value.

    A target gets one of its G best anchors, as the others take fewer.
    """
    targets = overlaps.real.shape[1]
    iou, anchor = overlaps.top_anchors(targets)  # (B, G, k)
    owner = torch.arange(targets, device=iou.device).view(1, -1, 1)
    found = Best(torch.zeros_like(iou[..., 0]), torch.zeros_like(anchor[..., 0]))
    for _ in range(targets):
        value, place = iou.flatten(1).max(1, keepdim=True)  # (B, 1), the first of equal ones
        target, taken = place // iou.shape[2], anchor.flatten(1).gather(1, place)
        found.iou.scatter_reduce_(1, target, value, "amax")
        found.partner.scatter_reduce_(1, target, taken.masked_fill(value <= 0, 0), "amax")
        iou = iou.masked_fill((owner == target.unsqueeze(2)) | (anchor == taken.unsqueeze(2)), -1.0)
    return found


def _wanted_later(anchor: Tensor, wants: Tensor) -> Tensor:
    """(B, G) bool: whether a later target that ``wants`` (B, G) has the same anchor (B, G), as this one does."""
    same = (anchor.unsqueeze(2) == anchor.unsqueeze(1)) & wants.unsqueeze(1) & wants.unsqueeze(2)
    return same.triu(1).any(2)


def _with_nearest(overlaps: Overlaps, found: Best, held: Tensor) -> tuple[Best, Tensor]:
    """Give the remaining targets, in turn, the free anchor with the nearest centre.

    Runs dry where there are more targets than anchors, and where distances are unknown.
    """
    remaining = overlaps.real > held
    if none_near(remaining):
        return found, held
    anchor = found.partner.where(held, 0)
    taken = torch.zeros(len(held), overlaps.count, dtype=torch.uint8, device=held.device)
    taken.scatter_reduce_(1, anchor, held.to(torch.uint8), "amax")
    for target in range(held.shape[1]):
        if none_near(remaining[:, target]):
            continue
        distance = overlaps.distances(target)
        if distance is None:
            break
        nearest = distance.masked_fill_(taken > 0, torch.inf).min(dim=1, keepdim=True)
        free = remaining[:, target, None] & (nearest.values < torch.inf)  # (B, 1)
        taken.scatter_reduce_(1, nearest.indices, free.to(torch.uint8), "amax")
        anchor[:, target] = torch.where(free, nearest.indices, anchor[:, target, None])[:, 0]
        held[:, target] |= free[:, 0]
    return Best(found.iou, anchor), held
