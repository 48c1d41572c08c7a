"""Matching against torchvision's box_iou and matcher, one thread, both taking turns in one run.

    OMP_NUM_THREADS=1 python benchmarks/matching.py [--rounds 7] [--only NAME]

The peer does what torchvision's detectors do, image by image: the whole IoU matrix, then ``Matcher`` (RetinaNet's
thresholds, low-quality matches allowed) or ``SSDMatcher``. Ours runs with the same rule on all images at once. Times
are the processor's, so that other programs disturb little. Memory is each side's own peak above what it starts with,
in a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection._utils import Matcher, SSDMatcher
from torchvision.ops import box_iou

from boxwright.anchors import RETINANET, SSD300, TINY_441, Anchors, make_anchors
from boxwright.environment import environment_line
from boxwright.matching import match_iou

RETINA = {"positive": 0.5, "negative": 0.4, "force": "ties"}
# name: anchors, image size (H, W), images, targets of each, ours' options, torchvision's matcher
CASES = {
    "tiny, 441 anchors x 1 target": (TINY_441, (224, 224), 1, 1, {}, SSDMatcher(0.5)),
    "ssd300, 8732 anchors x 1 image x 1 target": (SSD300, (300, 300), 1, 1, {}, SSDMatcher(0.5)),
    "ssd300, 8732 anchors x 1 image x 10 targets": (SSD300, (300, 300), 1, 10, {}, SSDMatcher(0.5)),
    "ssd300, 8732 anchors x 8 images x 10 targets": (SSD300, (300, 300), 8, 10, {}, SSDMatcher(0.5)),
    "ssd300, 8732 anchors x 8 images x 100 targets": (SSD300, (300, 300), 8, 100, {}, SSDMatcher(0.5)),
    "ssd300, 8732 anchors x 32 images x 100 targets": (SSD300, (300, 300), 32, 100, {}, SSDMatcher(0.5)),
    "retinanet, 120087 anchors x 10 targets": (RETINANET, (800, 800), 1, 10, RETINA, Matcher(0.5, 0.4, True)),
    "retinanet, 196416 anchors x 1000 targets": (RETINANET, (1024, 1024), 1, 1000, RETINA, Matcher(0.5, 0.4, True)),
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


def peak(name: str, side: str) -> float:
    """MB of memory above what stood before, in this process."""
    spec, size, images, count, options, matcher = CASES[name]
    anchors, (boxes, labels) = make_anchors(spec, size), made_targets(size, images, count)
    ours(anchors, boxes[:, :1], labels[:, :1], options)  # what is loaded and cached at the first use
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ours(anchors, boxes, labels, options) if side == "ours" else peer(anchors, boxes, matcher)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def median_ms(run: Callable[[], None], least: float = 0.1) -> float:
    """Of one call, repeated within a turn until the turn is long enough to be timed."""
    start, calls = time.process_time(), 0
    while time.process_time() - start < least:
        run()
        calls += 1
    return 1000 * (time.process_time() - start) / calls


def compare(name: str, rounds: int) -> None:
    spec, size, images, count, options, matcher = CASES[name]
    anchors, (boxes, labels) = make_anchors(spec, size), made_targets(size, images, count)
    sides: dict[str, Callable[[], None]] = {
        "boxwright": partial(ours, anchors, boxes, labels, options),
        "boxwright, boxes alone": partial(match_iou, anchors.boxes, boxes, labels, **options),  # type: ignore[arg-type]
        "torchvision": partial(peer, anchors, boxes, matcher),
    }
    if not options:
        sides["boxwright, force=last"] = partial(ours, anchors, boxes, labels, {"force": "last"})
    taken: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(rounds + 1):
        for side, run in sides.items():
            milliseconds = median_ms(run)
            if turn:  # the first warms up
                taken[side].append(milliseconds)
    print(name)
    reference = np.array(taken["torchvision"])
    for side, values in taken.items():
        ratios = np.sort(reference / np.array(values))
        print(
            f"  {side:24s} {np.median(values):9.3f} ms  {np.median(ratios):7.1f} x ({ratios[0]:.1f}..{ratios[-1]:.1f})",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.peak:
        print(peak(*arguments.peak))
        return
    print(environment_line())
    for side in ("ours", "peer"):  # first: a child's peak begins with its parent's
        command = [sys.executable, __file__, "--peak", list(CASES)[-1], side]
        megabytes = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"extra memory, {list(CASES)[-1]}, {side}: {megabytes:.0f} MB")
    for name in CASES:
        if name.startswith(arguments.only):
            compare(name, arguments.rounds)


if __name__ == "__main__":
    main()
