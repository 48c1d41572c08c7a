"""Losses, forward and backward, against torchvision's and torch's own.

    python benchmarks/losses.py [--only NAME] [--rounds 9]

The peers are ``torchvision.ops`` where it has the loss, torch's function of the same name, or the plain formula in
torch; both sides get the same float32 tensors, and their values and gradients are checked to be equal. The sum of the
losses of all pairs is differentiated. Box losses take predictions near their targets, most of which overlap them;
classification losses take 21 columns, one row in fifty an object. "mined": the cross entropy of all rows, then the
gradient of the few that hard negative mining leaves. "dfl decode": distributions over 17 bins, as boxes.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torchvision import ops
from turns import Row, arguments, compare, run

from boxwright import losses
from boxwright.coding import DistributionCoder

COLUMNS, BINS, OBJECTS = 21, 17, 50
PAIRS = (10, 100, 1_000, 10_000, 200_000)
CODER = DistributionCoder(BINS, step=1.0)
Loss = Callable[[Tensor, Tensor], Tensor]


class Case(NamedTuple):
    """One loss and its peer, of what ``inputs`` gives."""

    inputs: Callable[[int], tuple[Tensor, Tensor]]
    ours: Loss
    peer: Loss


def boxes(count: int) -> tuple[Tensor, Tensor]:
    """Predictions (n, 4) and targets (n, 4)."""
    generator = torch.Generator().manual_seed(count)
    corners = torch.rand(count, 2, generator=generator) * 500
    sides = 16 + torch.rand(count, 2, generator=generator) * 200
    targets = torch.cat([corners, corners + sides], 1)
    return targets + torch.randn(count, 4, generator=generator) * 0.15 * sides.repeat(1, 2), targets


def deltas(count: int) -> tuple[Tensor, Tensor]:
    """Predictions (n, 4) and targets (n, 4)."""
    return torch.randn(2, count, 4, generator=torch.Generator().manual_seed(count)).unbind()


def classes(count: int, columns: int) -> tuple[Tensor, Tensor]:
    """Logits (n, columns), and labels (n,) of which one in fifty isn't the last column, background."""
    generator = torch.Generator().manual_seed(count)
    labels = torch.full((count,), COLUMNS - 1)
    labels[::OBJECTS] = torch.randint(COLUMNS - 1, labels[::OBJECTS].shape, generator=generator)
    return torch.randn(count, columns, generator=generator), labels


def distributions(count: int) -> tuple[Tensor, Tensor]:
    """Logits (n, 4 x bins), and anchors (n, 4)."""
    return torch.randn(count, 4 * BINS, generator=torch.Generator().manual_seed(count)), boxes(count)[1]


def of_pairs(loss: Callable[..., Tensor]) -> Loss:
    """A loss of torch's, summed over each pair's coordinates."""
    return lambda pred, target: loss(pred, target, reduction="none").sum(-1)


def plain_iou(pred: Tensor, target: Tensor) -> Tensor:
    iou, _ = _shared(pred, target)
    return 1 - iou


def plain_eiou(pred: Tensor, target: Tensor) -> Tensor:
    iou, around = _shared(pred, target)
    offset = (pred[:, :2] + pred[:, 2:] - target[:, :2] - target[:, 2:]) / 2
    sides = (pred[:, 2:] - pred[:, :2]) - (target[:, 2:] - target[:, :2])
    distance = offset.square().sum(1) / around.square().sum(1)
    return 1 - iou + distance + (sides.square() / around.square()).sum(1)


def _shared(pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """IoU (n,), and the sides (n, 2) of the smallest box around both."""
    first, last = torch.maximum(pred[:, :2], target[:, :2]), torch.minimum(pred[:, 2:], target[:, 2:])
    shared = (last - first).clamp(min=0).prod(1)
    areas = (pred[:, 2:] - pred[:, :2]).prod(1) + (target[:, 2:] - target[:, :2]).prod(1)
    around = torch.maximum(pred[:, 2:], target[:, 2:]) - torch.minimum(pred[:, :2], target[:, :2])
    return shared / (areas - shared), around


def one_hot(loss: Loss) -> Loss:
    """A loss of float targets (n, K), as one of labels; making those targets is part of what it costs."""

    def run(logits: Tensor, labels: Tensor) -> Tensor:
        targets = torch.zeros_like(logits)
        objects = labels < logits.shape[1]
        targets[objects, labels[objects]] = 1.0
        return loss(logits, targets)

    return run


def mined(loss: Loss) -> Loss:
    """The sum over the rows of objects, and as many as three times that of others."""

    def run(logits: Tensor, labels: Tensor) -> Tensor:
        each = loss(logits, labels)
        rows = torch.arange(len(each)) % OBJECTS < 4
        return each * rows

    return run


def plain_decode(logits: Tensor, anchors: Tensor) -> Tensor:
    distances = logits.reshape(-1, 4, BINS).softmax(-1) @ torch.arange(BINS, dtype=logits.dtype)
    sides = anchors[:, 2:] - anchors[:, :2]
    center, unit = anchors[:, :2] + sides / 2, sides.prod(1, keepdim=True).sqrt()
    return torch.cat([center - unit * distances[:, :2], center + unit * distances[:, 2:]], 1)


CROSS_ENTROPY: Loss = partial(functional.cross_entropy, reduction="none")
ENTROPY: Loss = partial(functional.binary_cross_entropy_with_logits, reduction="none")
SOFTMAX = partial(classes, columns=COLUMNS)
SIGMOID = partial(classes, columns=COLUMNS - 1)

CASES = {
    "iou": Case(boxes, losses.iou_loss, plain_iou),
    "giou": Case(boxes, losses.giou_loss, ops.generalized_box_iou_loss),
    "diou": Case(boxes, losses.diou_loss, ops.distance_box_iou_loss),
    "ciou": Case(boxes, losses.ciou_loss, ops.complete_box_iou_loss),
    "eiou": Case(boxes, losses.eiou_loss, plain_eiou),
    "l1": Case(deltas, losses.l1_loss, of_pairs(functional.l1_loss)),
    "l2": Case(deltas, losses.l2_loss, of_pairs(functional.mse_loss)),
    "smooth l1": Case(deltas, losses.smooth_l1_loss, of_pairs(functional.smooth_l1_loss)),
    "smooth l1, summed": Case(
        deltas,
        partial(losses.smooth_l1_loss, reduction="sum"),
        partial(functional.smooth_l1_loss, reduction="sum"),  # as torchvision's SSD has it
    ),
    "cross entropy": Case(SOFTMAX, losses.cross_entropy, CROSS_ENTROPY),
    "cross entropy, mined": Case(SOFTMAX, mined(losses.cross_entropy), mined(CROSS_ENTROPY)),
    "binary cross entropy": Case(SIGMOID, losses.binary_cross_entropy, one_hot(ENTROPY)),
    "sigmoid focal": Case(SIGMOID, losses.sigmoid_focal_loss, one_hot(ops.sigmoid_focal_loss)),
    "dfl decode": Case(distributions, lambda logits, anchors: CODER.decode(anchors, logits), plain_decode),
}


def step(loss: Loss, pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of all losses, and its gradient."""
    pred.grad = None
    total = loss(pred, target).sum()
    total.backward()
    assert pred.grad is not None
    return total.detach(), pred.grad


def rows(options: Namespace) -> Iterator[Row]:
    for name, case in CASES.items():
        if options.only not in (None, name):
            continue
        for count in PAIRS:
            pred, target = case.inputs(count)
            pred.requires_grad_()
            ours, peer = (partial(step, loss, pred, target) for loss in (case.ours, case.peer))
            torch.testing.assert_close(ours(), peer(), rtol=1e-3, atol=1e-4)
            yield from compare(options, {f"{name}, {count:,}": ours}, peer)


if __name__ == "__main__":
    run(rows, arguments(__doc__, rounds=9, cases=CASES))
