"""Matching against torchvision's box_iou and matcher.

    python benchmarks/matching.py [--rounds 7] [--only NAME]

The peer does what torchvision's detectors do, image by image: the whole IoU matrix, then ``Matcher`` (RetinaNet's
thresholds, low-quality matches allowed) or ``SSDMatcher``. Ours runs with the same rule on all images at once ("boxes
alone": given the anchors' boxes without what is known of their grid). Both get the same float32 boxes. Memory is each
side's own peak above what it starts with, in a process of its own.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from torchvision.models.detection._utils import Matcher, SSDMatcher
from torchvision.ops import box_iou
from turns import Row, added_mebibytes, apart, arguments, compare, once, run

from boxwright.anchors import RETINANET, SSD300, TINY_441, Anchors, make_anchors
from boxwright.matching import match_iou

RETINA = {"positive": 0.5, "negative": 0.4, "force": "ties"}
# name: anchors, image size (H, W), images, targets of each, ours' options, torchvision's matcher
CASES = {
    "tiny, 441 anchors x 1 target": (TINY_441, (224, 224), 1, 1, {}, SSDMatcher(0.5)),
    "ssd300, 8,732 anchors x 1 image x 1 target": (SSD300, (300, 300), 1, 1, {}, SSDMatcher(0.5)),
    "ssd300, 8,732 anchors x 1 image x 10 targets": (SSD300, (300, 300), 1, 10, {}, SSDMatcher(0.5)),
    "ssd300, 8,732 anchors x 8 images x 10 targets": (SSD300, (300, 300), 8, 10, {}, SSDMatcher(0.5)),
    "ssd300, 8,732 anchors x 8 images x 100 targets": (SSD300, (300, 300), 8, 100, {}, SSDMatcher(0.5)),
    "ssd300, 8,732 anchors x 32 images x 100 targets": (SSD300, (300, 300), 32, 100, {}, SSDMatcher(0.5)),
    "retinanet, 120,087 anchors x 10 targets": (RETINANET, (800, 800), 1, 10, RETINA, Matcher(0.5, 0.4, True)),
    "retinanet, 196,416 anchors x 1,000 targets": (RETINANET, (1024, 1024), 1, 1000, RETINA, Matcher(0.5, 0.4, True)),
}


def made_targets(size: tuple[int, int], images: int, count: int) -> tuple[Tensor, Tensor]:
    """Boxes of all sizes, whose sides are spread evenly in their logarithm."""
    generator = torch.Generator().manual_seed(0)
    side = min(size)
    scale = side * torch.exp(torch.empty(images, count, 1).uniform_(-3.5, -0.5, generator=generator))
    aspect = torch.exp(torch.empty(images, count, 1).uniform_(-0.7, 0.7, generator=generator) / 2)
    sides = torch.cat([scale * aspect, scale / aspect], -1).clamp(max=side * 0.99)
    corners = torch.rand(images, count, 2, generator=generator) * (torch.tensor([size[1], size[0]]) - sides)
    return torch.cat([corners, corners + sides], -1), torch.zeros(images, count, dtype=torch.int64)


def ours(anchors: Anchors, boxes: Tensor, labels: Tensor, options: dict[str, object]) -> None:
    match_iou(anchors, boxes, labels, **options)  # type: ignore[arg-type]


def peer(anchors: Anchors, boxes: Tensor, matcher: Matcher) -> None:
    for image in boxes:
        matcher(box_iou(image, anchors.boxes))


def extra_mebibytes(name: str, side: str) -> float:
    """Memory above what stood before, in this process."""
    spec, size, images, count, options, matcher = CASES[name]
    anchors, (boxes, labels) = make_anchors(spec, size), made_targets(size, images, count)
    ours(anchors, boxes[:, :1], labels[:, :1], options)  # what is loaded and cached at the first use
    own, theirs = partial(ours, anchors, boxes, labels, options), partial(peer, anchors, boxes, matcher)
    return added_mebibytes(own if side == "ours" else theirs)


def rows(given: Namespace) -> Iterator[Row]:
    for name in [given.only] if given.only else CASES:
        spec, size, images, count, options, matcher = CASES[name]
        anchors, (boxes, labels) = make_anchors(spec, size), made_targets(size, images, count)
        sides: dict[str, Callable[[], object]] = {
            name: partial(ours, anchors, boxes, labels, options),
            f"{name}, boxes alone": partial(match_iou, anchors.boxes, boxes, labels, **options),  # type: ignore[arg-type]
        }
        if not options:
            sides[f"{name}, force=last"] = partial(ours, anchors, boxes, labels, {"force": "last"})
        yield from compare(given, sides, partial(peer, anchors, boxes, matcher))
    if not given.only:
        yield once(f"{name}, memory of a call", apart(name, "ours"), apart(name, "peer"))


if __name__ == "__main__":
    run(rows, arguments(__doc__, rounds=7, cases=CASES), alone=extra_mebibytes)
