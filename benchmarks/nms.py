"""Speed of every NMS against the usual greedy loop and torchvision, one thread, all of them taking turns in one run.

    OMP_NUM_THREADS=1 python benchmarks/nms.py [--rounds 15]

Boxes crowd as before NMS: 10, or 30, around each object, their class the object's. The loop takes the best box that is
left, compares it with all others in a few calls of torch on whole rows, and drops those that overlap; classes are moved
apart first. Soft-NMS's loop lowers their scores instead. Greedy NMS by IoU is compared with torchvision's
``batched_nms`` too, in processor time. Results of each pair are checked to be equal.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torchvision import ops

from boxwright.environment import environment_line
from boxwright.nms import batched_nms, cluster_nms, cluster_soft_nms, soft_nms

Candidates = tuple[Tensor, Tensor, Tensor]


def crowd(count: int, classes: int, per_object: int, side: float = 640) -> Candidates:
    """Boxes, scores and labels; float64, so that the loop's moving of classes rounds nothing."""
    generator = torch.Generator().manual_seed(count + classes)
    objects = count // per_object
    owner = torch.randint(objects, (count,), generator=generator)
    centres = torch.rand(objects, 2, generator=generator) * side
    sides = 16 * torch.exp(2.5 * torch.rand(objects, 2, generator=generator))
    noise = torch.randn(2, count, 2, generator=generator)
    centres = centres[owner] + 0.15 * noise[0] * sides[owner]
    sides = sides[owner] * torch.exp(0.2 * noise[1])
    boxes = torch.cat([centres - sides / 2, centres + sides / 2], dim=1).double()
    return boxes, torch.rand(count, generator=generator), torch.randint(classes, (objects,), generator=generator)[owner]


def overlaps(box: Tensor, boxes: Tensor, kind: str) -> Tensor:
    """IoU or DIoU (n,) of one box (4,) with boxes (n, 4)."""
    low, high = torch.maximum(box[:2], boxes[:, :2]), torch.minimum(box[2:], boxes[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    iou = shared / ((box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(1) - shared)
    if kind == "iou":
        return iou
    distance = ((box[:2] + box[2:] - boxes[:, :2] - boxes[:, 2:]) ** 2).sum(1) / 4
    diagonal = ((torch.maximum(box[2:], boxes[:, 2:]) - torch.minimum(box[:2], boxes[:, :2])) ** 2).sum(1)
    return iou - distance / diagonal


def apart(boxes: Tensor, labels: Tensor) -> Tensor:
    return boxes + (labels * (boxes.max() - boxes.min() + 1))[:, None]


def greedy_loop(boxes: Tensor, scores: Tensor, labels: Tensor, kind: str) -> Tensor:
    boxes, left, kept = apart(boxes, labels), scores.argsort(descending=True), []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        left = left[overlaps(boxes[best], boxes[left], kind) <= 0.5]
    return torch.stack(kept)


def soft_loop(boxes: Tensor, scores: Tensor, labels: Tensor) -> Tensor:
    boxes, scores, left, kept = apart(boxes, labels), scores.clone(), torch.arange(len(boxes)), []
    while len(left):
        place = scores[left].argmax()
        best = left[place]
        kept.append(best)
        left = torch.cat([left[:place], left[place + 1 :]])
        scores[left] *= torch.exp(-(overlaps(boxes[best], boxes[left], "iou") ** 2) / 0.5)
        left = left[scores[left] > 0.001]
    return torch.stack(kept)


CONTENDERS: dict[str, Callable[..., Any]] = {
    "diou: loop": partial(greedy_loop, kind="diou"),
    "diou: batched_nms": partial(batched_nms, kind="diou"),
    "iou: loop": partial(greedy_loop, kind="iou"),
    "iou: batched_nms": batched_nms,
    "iou: cluster_nms": cluster_nms,
    "soft: loop": soft_loop,
    "soft: soft_nms": lambda *candidates: soft_nms(*candidates)[0],
    "penalty: cluster_soft_nms": lambda *candidates: cluster_soft_nms(*candidates)[0],
}


def seconds(call: Callable[..., Any], candidates: Candidates) -> float:
    start = time.perf_counter()
    call(*candidates)
    return time.perf_counter() - start


def compare(candidates: Candidates, rounds: int) -> None:
    """Print the median of each contender, and how many times faster than its loop it is."""
    boxes, scores, labels = candidates
    for kind in ("iou", "diou"):
        expected = greedy_loop(*candidates, kind=kind).tolist()
        assert batched_nms(*candidates, kind=kind).tolist() == cluster_nms(*candidates, kind=kind).tolist() == expected
    assert soft_nms(boxes, scores.double(), labels)[0].tolist() == soft_loop(boxes, scores.double(), labels).tolist()
    candidates = (boxes.float(), scores, labels)
    times: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name, call in CONTENDERS.items():
            times[name].append(seconds(call, candidates))
    for name, taken in times.items():
        loop = times.get(f"{name.split(':')[0]}: loop", taken)
        ratio = "" if loop is taken else f"{median(a / b for a, b in zip(loop, taken, strict=True)):7.1f} x"
        print(f"  {name:26s}{1e3 * median(taken):9.2f} ms {ratio}")


def compare_with_torchvision(candidates: Candidates, rounds: int) -> None:
    """Print how many times faster than torchvision's our ``batched_nms`` is, by the median of rounds."""
    boxes, scores, labels = candidates
    theirs = ops.batched_nms(boxes, scores.double(), labels, 0.5)  # equal scores in any order
    assert torch.equal(batched_nms(*candidates).sort().values, theirs.sort().values)
    boxes = boxes.float()
    calls = (lambda: batched_nms(boxes, scores, labels), lambda: ops.batched_nms(boxes, scores, labels, 0.5))
    repeated = max(10_000 // len(boxes), 1)
    times: list[list[float]] = [[], []]
    for _ in range(rounds):
        for taken, call in zip(times, calls, strict=True):
            start = time.process_time()
            for _ in range(repeated):
                call()
            taken.append((time.process_time() - start) / repeated)
    ratio = median(b / a for a, b in zip(*times, strict=True))
    print(f"  {1e3 * median(times[0]):9.2f} ms, torchvision {1e3 * median(times[1]):9.2f} ms: {ratio:5.2f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(environment_line())
    for count in (100, 1000, 4000, 8000, 20_000):
        for classes in (20, 80):
            print(f"{count} boxes, 10 an object, {classes} classes: batched_nms")
            compare_with_torchvision(crowd(count, classes, 10), rounds)
    for count in (400, 1000, 4000):
        for classes in (1, 20):
            for per_object in (10, 30):
                candidates = crowd(count, classes, per_object)
                kept = len(batched_nms(*candidates, kind="diou"))
                print(f"{count} boxes, {per_object} an object, {classes} class(es), {kept} stay with diou")
                compare(candidates, rounds)


if __name__ == "__main__":
    main()
