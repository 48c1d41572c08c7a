"""Losses, forward and backward, against torchvision's and torch's own, in processor time.

    OMP_NUM_THREADS=1 python benchmarks/losses.py [NAME ...] [--pairs 10 100 1000 10000 200000] [--threads 1]
        [--rounds 15]

Prints how many times faster than its peer each loss is: the median of rounds in which both take turns. The peers are
``torchvision.ops`` where it has the loss, torch's function of the same name, or the plain formula in torch. The sum of
the losses of all pairs is differentiated. Box losses take predictions near their targets, most of which overlap them;
classification losses 21 columns, one row in fifty an object. ``mined``: the cross entropy of all rows, then the
gradient of the few that hard negative mining leaves. ``dfl decode``: distributions over 17 bins, as boxes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torchvision import ops

from boxwright import losses
from boxwright.coding import DistributionCoder
from boxwright.environment import environment_line

COLUMNS, BINS, OBJECTS = 21, 17, 50
CODER = DistributionCoder(BINS, step=1.0)
Loss = Callable[[Tensor, Tensor], Tensor]


class Row(NamedTuple):
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
    centre, unit = anchors[:, :2] + sides / 2, sides.prod(1, keepdim=True).sqrt()
    return torch.cat([centre - unit * distances[:, :2], centre + unit * distances[:, 2:]], 1)


CROSS_ENTROPY: Loss = partial(functional.cross_entropy, reduction="none")
ENTROPY: Loss = partial(functional.binary_cross_entropy_with_logits, reduction="none")
SOFTMAX = partial(classes, columns=COLUMNS)
SIGMOID = partial(classes, columns=COLUMNS - 1)

ROWS = {
    "iou": Row(boxes, losses.iou_loss, plain_iou),
    "giou": Row(boxes, losses.giou_loss, ops.generalized_box_iou_loss),
    "diou": Row(boxes, losses.diou_loss, ops.distance_box_iou_loss),
    "ciou": Row(boxes, losses.ciou_loss, ops.complete_box_iou_loss),
    "eiou": Row(boxes, losses.eiou_loss, plain_eiou),
    "l1": Row(deltas, losses.l1_loss, of_pairs(functional.l1_loss)),
    "l2": Row(deltas, losses.l2_loss, of_pairs(functional.mse_loss)),
    "smooth l1": Row(deltas, losses.smooth_l1_loss, of_pairs(functional.smooth_l1_loss)),
    "smooth l1, summed": Row(
        deltas,
        partial(losses.smooth_l1_loss, reduction="sum"),
        partial(functional.smooth_l1_loss, reduction="sum"),  # as torchvision's SSD has it
    ),
    "cross entropy": Row(SOFTMAX, losses.cross_entropy, CROSS_ENTROPY),
    "cross entropy, mined": Row(SOFTMAX, mined(losses.cross_entropy), mined(CROSS_ENTROPY)),
    "binary cross entropy": Row(SIGMOID, losses.binary_cross_entropy, one_hot(ENTROPY)),
    "sigmoid focal": Row(SIGMOID, losses.sigmoid_focal_loss, one_hot(ops.sigmoid_focal_loss)),
    "dfl decode": Row(distributions, lambda logits, anchors: CODER.decode(anchors, logits), plain_decode),
}


def step(loss: Loss, pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of all losses, and its gradient."""
    pred.grad = None
    total = loss(pred, target).sum()
    total.backward()
    assert pred.grad is not None
    return total.detach(), pred.grad


def ratio(row: Row, count: int, rounds: int) -> float:
    """How many times faster than its peer a loss of ``count`` pairs is."""
    pred, target = row.inputs(count)
    pred.requires_grad_()
    torch.testing.assert_close(step(row.ours, pred, target), step(row.peer, pred, target), rtol=1e-3, atol=1e-4)
    repeated = max(20_000 // count, 1) if count > 200 else 100
    taken: list[list[float]] = [[], []]
    for _ in range(rounds):
        for times, loss in zip(taken, (row.ours, row.peer), strict=True):
            start = time.process_time()
            for _ in range(repeated):
                step(loss, pred, target)
            times.append(time.process_time() - start)
    return median(b / a for a, b in zip(*taken, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(ROWS)}")
    parser.add_argument("--pairs", nargs="+", type=int, default=[10, 100, 1_000, 10_000, 200_000])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(environment_line())
    print(f"{'times faster, pairs':24s}" + "".join(f"{count:9,d}" for count in arguments.pairs))
    for name in arguments.names or ROWS:
        ratios = [ratio(ROWS[name], count, arguments.rounds) for count in arguments.pairs]
        print(f"{name:24s}" + "".join(f"{value:9.2f}" for value in ratios), flush=True)


if __name__ == "__main__":
    main()
