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
    """Match each anchor with the target that it overlaps most (ties: the first) where their IoU is above ``threshold``.

    boxes (B, G, 4) in the anchors' pixels, labels (B, G) with -1 for padding, ignore (B, G) bool. Nothing is forced,
    and an IoU of exactly the threshold is negative. Ignored boxes, SSD-Tensorflow's label ``no_annotation``, are never
    matched. What becomes of the anchors under them:

    - "skip": nothing, as in the code that was published: those that no other target claims are negatives.
    - "ignore": as in the lines that are commented out there: an anchor is ignored, a positive one too, where
      intersection / anchor area is above ``ignore_ioa``.

    gt_index and iou are 0 below the threshold. Raises ValueError for a threshold below 0, an unknown rule, or shapes.
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
