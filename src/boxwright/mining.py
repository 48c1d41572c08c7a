"""Mining: choose the anchors whose classification loss counts.

Every miner takes detached per-anchor losses (B, A) and the state (B, A) of the matches, 1 positive, 0 negative and -1
ignored, and returns a (B, A) bool mask. Ties go to the earlier anchor, and ignored anchors are never chosen. The losses
are those of the classification; a miner that also drops positives may ask for the sum with the box loss: a positive
that it drops loses its box loss too and does not count for the normalizer. All raise ValueError for shapes that differ
and, in eager calls on the CPU, for a state other than 1, 0 or -1.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from boxwright._util.checks import check_within
from boxwright.nms import batched_nms
from boxwright.parts import miner
from boxwright.ranking import highest

MiningScope = Literal["image", "batch"]
Cutoff = Literal["count", "tf"]
Keep = Literal["hardest", "easiest"]


@miner()
@torch.no_grad()
def hard_negatives(
    losses: Tensor,
    state: Tensor,
    *,
    ratio: float = 3.0,
    scope: MiningScope = "image",
    min_negatives: int = 0,
    cutoff: Cutoff = "count",
) -> Tensor:
    """Choose all positives and ``ratio`` times as many of the hardest negatives (SSD, arXiv 1512.02325, sec. 2.2).

    Args:
        losses: Classification losses (B, A).
        state: State of the matches (B, A).
        ratio: Negatives per positive.
        scope: Whether negatives are counted per "image" or over the whole (micro-)"batch".
        min_negatives: Choose at least this many negatives per image or batch, at most all. With 0 an image without
            positives counts nothing.
        cutoff: "exact", or "tf" for the rule of SSD-Tensorflow: of the batch's ratio x positives + images hardest
            negatives, those strictly harder than the last one, so one less, or far less where losses are equal. It
            needs scope "batch".

    Raises:
        ValueError: If the scope or cutoff is unknown, a ratio or count is negative, or shapes differ.

    Examples:
        >>> losses, state = torch.tensor([[0.1, 0.9, 0.5, 0.7]]), torch.tensor([[1, 0, 0, 0]])
        >>> bw.mining.hard_negatives(losses, state, ratio=2)
        tensor([[ True,  True, False,  True]])
    """
    _check(state, losses)
    if scope not in get_args(MiningScope):
        raise ValueError(f"Expected a scope out of {get_args(MiningScope)} but got {scope!r}")
    if cutoff not in get_args(Cutoff) or (cutoff == "tf" and scope != "batch"):
        raise ValueError(f"Expected cutoff 'count', or 'tf' with scope 'batch', but got {cutoff!r} with {scope!r}")
    if ratio < 0 or min_negatives < 0:
        raise ValueError(f"Expected ratio and min_negatives of at least 0 but got {ratio} and {min_negatives}")
    if not state.numel():
        return state == 1
    shape = state.shape
    if scope == "batch":
        losses, state = losses.reshape(1, -1), state.reshape(1, -1)
    positive, negative = state == 1, state == 0
    wanted = (positive.sum(1, keepdim=True) * ratio).floor().long()
    if cutoff == "tf":
        wanted = (wanted + shape[0]).minimum(negative.sum(1, keepdim=True))
    hardest = highest(losses, negative, wanted.clamp(min=min_negatives))
    if cutoff == "tf":
        last = torch.where(hardest, losses, torch.inf).amin(1, keepdim=True)
        hardest &= losses > last
    return (positive | hardest).reshape(shape)


@miner(ranks_by="both")
@torch.no_grad()
def hard_examples(losses: Tensor, state: Tensor, *, count: int | None = None) -> Tensor:
    """Choose the highest losses of each image, positives and negatives together.

    After OHEM (arXiv 1604.03540, section 4.1).

    Args:
        losses: Losses of classification and box together (B, A).
        state: State of the matches (B, A).
        count: Anchors per image; None: four times its positives, as many as ``hard_negatives`` keeps.

    Raises:
        ValueError: If ``count`` is below 1 or shapes differ.

    Examples:
        >>> losses, state = torch.tensor([[0.1, 0.9, 0.5, 0.7]]), torch.tensor([[1, 0, 0, 0]])
        >>> bw.mining.hard_examples(losses, state, count=2)
        tensor([[False,  True, False,  True]])
    """
    _check(state, losses)
    if count is not None and count < 1:
        raise ValueError(f"Expected a count of at least 1 but got {count}")
    wanted = 4 * (state == 1).sum(1, keepdim=True) if count is None else count
    return highest(losses, state >= 0, wanted)


@miner(ranks_by="both", needs=("gt_index",))
@torch.no_grad()
def hard_positives(
    losses: Tensor,
    state: Tensor,
    gt_index: Tensor,
    *,
    count: int = 3,
    keep: Keep = "hardest",
    ratio: float | None = 3.0,
) -> Tensor:
    """Choose only the ``count`` hardest, or easiest, anchors of each target, and then hard negatives.

    Every target that has anchors keeps at least one, so a large target counts no more than a small one.

    Args:
        losses: Losses of classification and box together (B, A).
        state: State of the matches (B, A).
        gt_index: The target that each positive answers for, (B, A) int64.
        count: Anchors per target.
        keep: "hardest" or "easiest".
        ratio: Negatives per kept positive, chosen as in ``hard_negatives``; None: all negatives.

    Raises:
        ValueError: If ``count`` is below 1, ``ratio`` is negative, ``keep`` is unknown or shapes differ.

    Examples:
        >>> losses, state = torch.tensor([[0.1, 0.9, 0.5, 0.7]]), torch.tensor([[1, 1, 0, 0]])
        >>> bw.mining.hard_positives(losses, state, gt_index=torch.zeros(1, 4, dtype=torch.int64), count=1, ratio=1)
        tensor([[False,  True, False,  True]])
    """
    _check(state, losses)
    if gt_index.shape != state.shape or gt_index.dtype != torch.int64:
        raise ValueError(f"Expected gt_index int64 (B, A) but got {gt_index.dtype} {tuple(gt_index.shape)}")
    if count < 1 or keep not in get_args(Keep):
        raise ValueError(f"Expected count >= 1 and keep out of {get_args(Keep)} but got {count} and {keep!r}")
    image, anchor = (state == 1).nonzero(as_tuple=True)
    rank = losses[image, anchor] if keep == "hardest" else -losses[image, anchor]
    first = _first_of_groups(rank, image << 32 | gt_index[image, anchor], count)
    kept = torch.zeros_like(state, dtype=torch.bool)
    kept[image[first], anchor[first]] = True
    if ratio is None:
        return kept | (state == 0)
    return hard_negatives(losses, torch.where((state == 1) & ~kept, -1, state), ratio=ratio)


@miner()
@torch.no_grad()
def ohem(
    losses: Tensor, state: Tensor, *, count: int = 128, boxes: Tensor | None = None, nms_iou: float = 0.7
) -> Tensor:
    """Choose the ``count`` highest losses of each image over all candidates (OHEM, arXiv 1604.03540, section 4.1).

    Args:
        losses: Losses (B, A).
        state: State of the matches (B, A).
        count: Anchors per image.
        boxes: Candidate boxes (B, A, 4), or (A, 4) for all images. With them, a candidate that overlaps a harder one by
            more than ``nms_iou`` is skipped, since it would count one mistake several times.
        nms_iou: The paper's is 0.7.

    Raises:
        ValueError: If ``count`` is below 1 or shapes differ.

    Examples:
        >>> losses, state = torch.tensor([[0.1, 0.9, 0.5, 0.7]]), torch.tensor([[1, 0, 0, 0]])
        >>> bw.mining.ohem(losses, state, count=2)
        tensor([[False,  True, False,  True]])
    """
    _check(state, losses)
    if count < 1:
        raise ValueError(f"Expected a count of at least 1 but got {count}")
    eligible = state >= 0
    if boxes is not None:
        eligible = eligible & _without_overlaps(losses, eligible, boxes, nms_iou)
    return highest(losses, eligible, count)


@miner(ranks_by="nothing")
@torch.no_grad()
def random_balanced(
    state: Tensor, *, count: int = 256, positive_fraction: float = 0.5, generator: torch.Generator | None = None
) -> Tensor:
    """Choose ``count`` anchors of each image at random, at most ``positive_fraction`` of them positive.

    This is the sampling of Faster R-CNN's RPN (arXiv 1506.01497, section 3.1.3).

    Args:
        state: State of the matches (B, A).
        count: Anchors per image. Negatives fill the places that positives leave, never the other way.
        positive_fraction: In 0..1.
        generator: On the state's device; the same generator state draws the same anchors.

    Raises:
        ValueError: If ``count`` is below 1, the fraction is outside 0..1 or the shape is wrong.

    Examples:
        >>> state = torch.tensor([[1, 1, 0, 0, 0, -1]])
        >>> bw.mining.random_balanced(state, count=4, positive_fraction=0.25).sum()
        tensor(4)
    """
    _check(state)
    if count < 1 or not 0 <= positive_fraction <= 1:
        raise ValueError(f"Expected count >= 1 and a fraction in 0..1 but got {count} and {positive_fraction}")
    order = torch.rand(state.shape, generator=generator, device=state.device)
    positives = highest(order, state == 1, int(count * positive_fraction))
    return positives | highest(order, state == 0, count - positives.sum(1, keepdim=True))


def _first_of_groups(values: Tensor, group: Tensor, count: int) -> Tensor:
    """Find the ``count`` highest values (n,) of each group (n,) int64, as indices; ties go to the earlier."""
    order = values.argsort(descending=True, stable=True)
    order = order[group[order].argsort(stable=True)]
    group = group[order]  # sorted by group, and within a group by falling value
    place = torch.arange(len(group), device=group.device)
    return order[place - torch.searchsorted(group, group) < count]


def _check(state: Tensor, losses: Tensor | None = None) -> None:
    if losses is not None and (losses.shape != state.shape or losses.ndim != 2):
        raise ValueError(f"Expected losses and state (B, A) but got {tuple(losses.shape)} and {tuple(state.shape)}")
    if state.ndim != 2 or state.dtype == torch.bool:
        raise ValueError(f"Expected state (B, A) in -1..1 but got {state.dtype} {tuple(state.shape)}")
    check_within(state, -1, 1, "state", ("image", "anchor"))


def _without_overlaps(losses: Tensor, eligible: Tensor, boxes: Tensor, iou: float) -> Tensor:
    """Tell which eligible anchors of each image NMS by loss keeps, (B, A) bool."""
    if boxes.shape not in ((*losses.shape, 4), (losses.shape[1], 4)):
        raise ValueError(f"Expected boxes ({losses.shape[0]}, {losses.shape[1]}, 4) but got {tuple(boxes.shape)}")
    image, anchor = eligible.nonzero(as_tuple=True)
    kept = batched_nms(boxes.expand(*losses.shape, 4)[image, anchor], losses[image, anchor], image, iou)
    left = torch.zeros_like(eligible)
    left[image[kept], anchor[kept]] = True
    return left
