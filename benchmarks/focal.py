"""Sigmoid focal loss, forward and backward, against torchvision's on RetinaNet's anchors: time and memory, one thread.

    OMP_NUM_THREADS=1 python benchmarks/focal.py [--rounds 15]

76,725 anchors (RetinaNet's of 640 x 640 pixels) x 80 classes, 50 positives, summed.
torchvision takes float targets (N, K): making them from class indices, as its RetinaNet does, is part of its cost.
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
from torchvision.ops import sigmoid_focal_loss as peer_loss

from boxwright.environment import environment_line
from boxwright.losses import sigmoid_focal_loss

ANCHORS, CLASSES, POSITIVES = 76_725, 80, 50


def inputs() -> tuple[Tensor, Tensor]:
    """Logits (N, K) around -3, and labels (N,) with K for background."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(ANCHORS, CLASSES, generator=generator).sub_(3).requires_grad_()
    labels = torch.full((ANCHORS,), CLASSES)
    rows = torch.randperm(ANCHORS, generator=generator)[:POSITIVES]
    labels[rows] = torch.randint(CLASSES, (POSITIVES,), generator=generator)
    return logits, labels


def ours(logits: Tensor, labels: Tensor, gamma: float = 2.0) -> Tensor:
    logits.grad = None
    loss = sigmoid_focal_loss(logits, labels, gamma=gamma, reduction="sum")
    loss.backward()
    return loss.detach()


def peer(logits: Tensor, labels: Tensor, gamma: float = 2.0) -> Tensor:
    logits.grad = None
    targets = torch.zeros_like(logits)
    rows = labels < CLASSES
    targets[rows, labels[rows]] = 1.0
    loss = peer_loss(logits, targets, gamma=gamma, reduction="sum")
    loss.backward()
    return loss.detach()


SIDES: dict[str, Callable[..., Tensor]] = {"boxwright": ours, "torchvision": peer}


def extra_mebibytes(side: str) -> float:
    """Peak memory of one call above what is held before it, in this process."""
    logits, labels = inputs()
    SIDES[side](logits[:64].detach().requires_grad_(), labels[:64])  # what is loaded at the first use
    held = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1024
    SIDES[side](logits, labels)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held) / 1024


def compare(rounds: int, gamma: float) -> None:
    logits, labels = inputs()
    runs = {side: partial(run, logits, labels, gamma) for side, run in SIDES.items()}
    torch.testing.assert_close(runs["boxwright"](), runs["torchvision"](), rtol=1e-5, atol=0)
    taken: dict[str, list[float]] = {side: [] for side in runs}
    for _ in range(rounds):
        for side, run in runs.items():
            start = time.perf_counter()
            run()
            taken[side].append(1000 * (time.perf_counter() - start))
    ratios = np.array(taken["torchvision"]) / np.array(taken["boxwright"])
    for side, values in taken.items():
        print(f"gamma {gamma:g}  {side:12s} {np.median(values):7.1f} ms")
    print(f"gamma {gamma:g}  ratio {np.median(ratios):.2f} x ({ratios.min():.2f}..{ratios.max():.2f})", flush=True)


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
        print(f"extra memory {side:12s} {extra[side]:7.1f} MiB")
    print(f"extra memory boxwright / torchvision: 1 / {extra['torchvision'] / extra['boxwright']:.1f}")
    for gamma in (2.0, 1.5):
        compare(arguments.rounds, gamma)


if __name__ == "__main__":
    main()
