"""Rules that give a target an anchor which its IoU alone would not earn."""

from __future__ import annotations

import torch
from torch import Tensor

from boxwright._util.checks import all_near, is_near, none_near
from boxwright.matching._overlaps import Best, DenseOverlaps, Overlaps, best_of, block_size


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
        found = _pair_by_pair(overlaps)
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
        if none_near(remaining[:, part]):
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
