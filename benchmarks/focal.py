"""Focal losses of sigmoids, forward and backward, on RetinaNet's anchors: time and memory.

    python benchmarks/focal.py [--rounds 9]

76,725 anchors (RetinaNet's of 640 x 640 pixels) x 80 classes, 50 positives, summed.
Sigmoid focal loss against torchvision's, which takes float targets (N, K): making them from class indices, as its
RetinaNet does, is part of its cost. Quality focal loss on float targets against its formula in plain torch.
Both sides get the same float32 logits; their losses must agree. Memory is the peak of a process of its own above what
it held before the call; the gradient itself, 23.4 MiB, is part of both.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss as peer_loss
from turns import Row, added_mebibytes, apart, arguments, compare, once, run

from boxwright.losses import quality_focal_loss, sigmoid_focal_loss

ANCHORS, CLASSES, POSITIVES = 76_725, 80, 50


def inputs() -> tuple[Tensor, Tensor]:
    """Logits (N, K) around -3, and labels (N,) with K for background."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(ANCHORS, CLASSES, generator=generator).sub_(3).requires_grad_()
    labels = torch.full((ANCHORS,), CLASSES)
    rows = torch.randperm(ANCHORS, generator=generator)[:POSITIVES]
    labels[rows] = torch.randint(CLASSES, (POSITIVES,), generator=generator)
    return logits, labels


def differentiated(loss: Tensor) -> Tensor:
    loss.backward()
    return loss.detach()


def ours(logits: Tensor, labels: Tensor, gamma: float = 2.0) -> Tensor:
    logits.grad = None
    return differentiated(sigmoid_focal_loss(logits, labels, gamma=gamma, reduction="sum"))


def peer(logits: Tensor, labels: Tensor, gamma: float = 2.0) -> Tensor:
    logits.grad = None
    targets = torch.zeros_like(logits)
    rows = labels < CLASSES
    targets[rows, labels[rows]] = 1.0
    return differentiated(peer_loss(logits, targets, gamma=gamma, reduction="sum"))


def qualities(labels: Tensor) -> Tensor:
    """Float targets (N, K) with one value at each positive's class."""
    targets = torch.zeros(ANCHORS, CLASSES)[: len(labels)]
    rows = labels < CLASSES
    targets[rows, labels[rows]] = 0.7
    return targets


def quality_ours(logits: Tensor, targets: Tensor, beta: float = 2.0) -> Tensor:
    logits.grad = None
    return differentiated(quality_focal_loss(logits, targets, beta=beta, reduction="sum"))


def quality_plain(logits: Tensor, targets: Tensor, beta: float = 2.0) -> Tensor:
    logits.grad = None
    distance = (targets - logits.sigmoid()).abs()
    entropy = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return differentiated((distance.pow(beta) * entropy).sum())


SIDES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "sigmoid_focal_loss": (ours, peer),
    "quality_focal_loss": (quality_ours, quality_plain),
}


def targets_of(name: str, labels: Tensor) -> Tensor:
    return qualities(labels) if name == "quality_focal_loss" else labels


def extra_mebibytes(name: str, side: str) -> float:
    """Peak memory of one call above what is held before it, in this process."""
    logits, labels = inputs()
    targets = targets_of(name, labels)
    call = SIDES[name][int(side)]
    call(logits[:64].detach().requires_grad_(), targets[:64])  # what is loaded at the first use
    return added_mebibytes(partial(call, logits, targets))


def rows(options: Namespace) -> Iterator[Row]:
    logits, labels = inputs()
    for name, sides in SIDES.items():
        for exponent in (2.0, 1.5):
            ours, peer = (partial(call, logits, targets_of(name, labels), exponent) for call in sides)
            torch.testing.assert_close(ours(), peer(), rtol=1e-5, atol=0)
            yield from compare(options, {f"{name}, exponent {exponent:g}": ours}, peer)
        yield once(f"{name}, memory of a call", *(apart(name, str(side)) for side in (0, 1)))


if __name__ == "__main__":
    run(rows, arguments(__doc__, rounds=9), alone=extra_mebibytes)
