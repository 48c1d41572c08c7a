"""Focal losses of sigmoids, forward and backward, on RetinaNet's anchors: processor time and memory, one thread.

    OMP_NUM_THREADS=1 python benchmarks/focal.py [--rounds 15]

76,725 anchors (RetinaNet's of 640 x 640 pixels) x 80 classes, 50 positives, summed.
Sigmoid focal loss against torchvision's, which takes float targets (N, K): making them from class indices, as its
RetinaNet does, is part of its cost. Quality focal loss on float targets against its formula in plain torch.
Both take turns in one run. Memory is the peak of a process of its own above what it held before the call; the
gradient itself, 23.4 MiB, is part of both.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss as peer_loss

from boxwright.environment import environment_line
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


FOCAL: dict[str, Callable[..., Tensor]] = {"boxwright": ours, "torchvision": peer}
QUALITY: dict[str, Callable[..., Tensor]] = {"boxwright quality": quality_ours, "plain quality": quality_plain}
SIDES = FOCAL | QUALITY


def extra_mebibytes(side: str) -> float:
    """Peak memory of one call above what is held before it, in this process."""
    logits, targets = inputs()
    if side in QUALITY:
        targets = qualities(targets)
    SIDES[side](logits[:64].detach().requires_grad_(), targets[:64])  # what is loaded at the first use
    held = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1024
    SIDES[side](logits, targets)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held) / 1024


def compare(sides: dict[str, Callable[..., Tensor]], targets: Tensor, exponent: float, rounds: int) -> None:
    """Print the median of each of two sides, and how many times faster the first is."""
    logits, _ = inputs()
    runs = {side: partial(run, logits, targets, exponent) for side, run in sides.items()}
    first, second = runs
    torch.testing.assert_close(runs[first](), runs[second](), rtol=1e-5, atol=0)
    taken: dict[str, list[float]] = {side: [] for side in runs}
    for _ in range(rounds):
        for side, run in runs.items():
            start = time.process_time()
            run()
            taken[side].append(1000 * (time.process_time() - start))
    ratios = np.array(taken[second]) / np.array(taken[first])
    for side, values in taken.items():
        print(f"exponent {exponent:g}  {side:17s} {np.median(values):7.1f} ms")
    print(f"exponent {exponent:g}  ratio {np.median(ratios):.2f} x ({ratios.min():.2f}..{ratios.max():.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--peak", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.peak:
        print(extra_mebibytes(arguments.peak))
        return
    print(environment_line())
    extra = {}  # measured first: a child's peak is never below its parent's size
    for side in SIDES:
        command = [sys.executable, __file__, "--peak", side]
        extra[side] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"extra memory {side:17s} {extra[side]:7.1f} MiB")
    for first, second in (FOCAL, QUALITY):
        print(f"extra memory {first} / {second}: 1 / {extra[second] / extra[first]:.1f}")
    _, labels = inputs()
    for exponent in (2.0, 1.5):
        compare(FOCAL, labels, exponent, arguments.rounds)
        compare(QUALITY, qualities(labels), exponent, arguments.rounds)


if __name__ == "__main__":
    main()
