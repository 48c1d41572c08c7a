"""Matching as SSD-Tensorflow does it (balancap/SSD-Tensorflow, nets/ssd_common.py and nets/ssd_vgg_300.py)."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from boxwright._util.devices import is_near
from boxwright.anchors import Anchors
from boxwright.matching._common import ignored_share, prepare
from boxwright.matching.iou import match_iou
from boxwright.parts import matcher
from boxwright.types import Matches

NoAnnotation = Literal["skip", "ignore"]


@matcher()
@torch.no_grad()
def match_ssd_tf(
    anchors: Anchors | Tensor,
    boxes: Tensor,
    labels: Tensor,
    *,
    threshold: float = 0.5,
    no_annotation: NoAnnotation = "skip",
    ignore: Tensor | None = None,
    ignore_ioa: float = 0.5,
) -> Matches:
    """Match each anchor with the target that it overlaps most (ties: the first) if their IoU is above ``threshold``.

    Nothing is forced, and an IoU of exactly the threshold is negative. Ignored boxes, which SSD-Tensorflow labels
    ``no_annotation``, are never matched.

    Args:
        anchors: Anchors of the image, or their boxes (A, 4).
        boxes: Targets (B, G, 4) in the anchors' pixels.
        labels: Classes (B, G) int64, -1 for padding.
        threshold: Positive where IoU > this.
        no_annotation: What happens to anchors under an ignored box. "skip", as in the published code: nothing; those
            that match no other target are negatives. "ignore", as in lines commented out there: an anchor, even a
            positive one, is ignored where intersection / anchor area is above ``ignore_ioa``.
        ignore: Boxes (B, G) bool that are not matched.
        ignore_ioa: See ``no_annotation``.

    Returns:
        Matches (B, A); gt_index and iou are 0 below the threshold.

    Raises:
        ValueError: If the threshold is negative, the rule is unknown or shapes do not fit.

    Examples:
        >>> anchors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 12, 10], [20, 20, 30, 30]])
        >>> boxes, labels = torch.tensor([[[0.0, 0, 10, 10]]]), torch.tensor([[0]])
        >>> bw.matching.match_ssd_tf(anchors, boxes, labels).state
        tensor([[1, 1, 0]], dtype=torch.int8)
    """
    if no_annotation not in get_args(NoAnnotation):
        raise ValueError(f"Expected no_annotation out of {get_args(NoAnnotation)} but got {no_annotation!r}")
    options = {"positive": threshold, "negative": threshold, "strict": True, "force": None}
    gt_index, _, iou = match_iou(anchors, boxes, labels, ignore=ignore, ignore_ioa=torch.inf, **options)  # type: ignore[arg-type]
    state = (iou > threshold).to(torch.int8)
    if no_annotation == "ignore" and ignore is not None and ignore.numel() and (not is_near(ignore) or ignore.any()):
        reference, boxes, _ = prepare(anchors, boxes, labels, ignore)
        covered = ignored_share(reference, boxes, labels, ignore) > ignore_ioa
        state = torch.where(covered, -1, state)
    return Matches(gt_index, state, iou)
