"""SSD's loss after matching, forward and backward, against torchvision's ``SSD.compute_loss``.

    python benchmarks/ssd_loss.py [--only 20|80] [--rounds 15] [--profile]

8 images x 8732 anchors x 21 or 81 columns, 40 positives an image: cross entropy, three hard negatives a positive,
smooth L1 of the encoded positives, all over the number of positives. Both take the same anchors, matches, targets and
float32 logits; their losses must agree.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.ssd import SSD
from turns import Row, arguments, compare, run

from boxwright.anchors import SSD300, make_anchors
from boxwright.coding import DeltaCoder
from boxwright.losses import cross_entropy, smooth_l1_loss
from boxwright.mining import hard_negatives

IMAGES, TARGETS, POSITIVES = 8, 10, 40
WEIGHTS = (10.0, 10.0, 5.0, 5.0)


class Batch(NamedTuple):
    anchors: Tensor  # (A, 4)
    logits: Tensor  # (B, A, K + 1)
    deltas: Tensor  # (B, A, 4)
    boxes: Tensor  # (B, G, 4)
    labels: Tensor  # (B, G) 0..K-1
    matched: Tensor  # (B, A) index of the target, or -1


def made_batch(classes: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    anchors = make_anchors(SSD300, (300, 300)).boxes
    shape = (IMAGES, len(anchors))
    matched = torch.full(shape, -1)
    for row in matched:
        chosen = torch.randperm(len(anchors), generator=generator)[:POSITIVES]
        row[chosen] = torch.randint(TARGETS, (POSITIVES,), generator=generator)
    corners = torch.rand(IMAGES, TARGETS, 2, generator=generator) * 200
    sides = 20 + torch.rand(IMAGES, TARGETS, 2, generator=generator) * 80
    return Batch(
        anchors,
        torch.randn(*shape, classes + 1, generator=generator).requires_grad_(),
        torch.randn(*shape, 4, generator=generator).requires_grad_(),
        torch.cat([corners, corners + sides], -1),
        torch.randint(classes, (IMAGES, TARGETS), generator=generator),
        matched,
    )


def ours(batch: Batch) -> Tensor:
    image, anchor = (batch.matched >= 0).nonzero(as_tuple=True)
    target = batch.matched[image, anchor]
    labels = torch.full_like(batch.matched, batch.logits.shape[-1] - 1)
    labels[image, anchor] = batch.labels[image, target]
    losses = cross_entropy(batch.logits, labels)
    counted = hard_negatives(losses.detach(), (batch.matched >= 0).to(torch.int8))
    deltas = DeltaCoder(WEIGHTS).encode(batch.anchors[anchor], batch.boxes[image, target])
    box = smooth_l1_loss(batch.deltas[image, anchor], deltas)
    return ((losses * counted).sum() + box.sum()) / max(len(image), 1)


PEER = SimpleNamespace(box_coder=BoxCoder(WEIGHTS), neg_to_pos_ratio=3.0)


def peer(batch: Batch) -> Tensor:
    """torchvision's background is column 0, and its labels start at 1."""
    targets = [{"boxes": b, "labels": x + 1} for b, x in zip(batch.boxes, batch.labels, strict=True)]
    outputs = {"cls_logits": batch.logits, "bbox_regression": batch.deltas}
    terms = SSD.compute_loss(PEER, targets, outputs, [batch.anchors] * IMAGES, list(batch.matched))
    return terms["classification"] + terms["bbox_regression"]


def step(loss: Callable[[Batch], Tensor], batch: Batch) -> Tensor:
    batch.logits.grad = batch.deltas.grad = None
    value = loss(batch)
    value.backward()
    return value.detach()


def check(batch: Batch) -> None:
    """The same loss, once torchvision's background stands at its place."""
    rolled = batch._replace(logits=batch.logits.detach().roll(1, -1).requires_grad_())
    torch.testing.assert_close(step(ours, batch), step(peer, rolled))


def profile() -> None:
    """Print which operations of ours take the time."""
    batch = made_batch(20)
    with torch.profiler.profile() as profile:
        step(ours, batch)
    print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=40))


def rows(options: Namespace) -> Iterator[Row]:
    if options.profile:
        profile()
        return
    for classes in (20, 80):
        if options.only in (None, str(classes)):
            batch = made_batch(classes)
            check(batch)
            name = f"8 x 8,732 anchors, {classes + 1} columns"
            yield from compare(options, {name: partial(step, ours, batch)}, partial(step, peer, batch))


if __name__ == "__main__":
    parser = arguments(__doc__, rounds=15, cases=("20", "80"))
    parser.add_argument("--profile", action="store_true")
    run(rows, parser)
