"""Speed of every NMS against the usual greedy loop and torchvision.

    python benchmarks/nms.py [--only loop|torchvision] [--rounds 7]

Boxes crowd as before NMS: 10, or 30, around each object, their class the object's. The loop takes the best box that is
left, compares it with all others in a few calls of torch on whole rows, and drops those that overlap; classes are moved
apart first. Soft-NMS's loop lowers their scores instead. Greedy NMS by IoU is compared with torchvision's
``batched_nms`` too. All get the same float32 boxes, and what each pair keeps is checked to be equal, in float64.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torchvision import ops
from turns import Row, arguments, compare, run

from boxwright.nms import batched_nms, cluster_nms, cluster_soft_nms, soft_nms
from boxwright.text import plural

Candidates = tuple[Tensor, Tensor, Tensor]


def crowd(count: int, classes: int, per_object: int, side: float = 640) -> Candidates:
    """Boxes, scores and labels; float64, so that the loop's moving of classes rounds nothing."""
    generator = torch.Generator().manual_seed(count + classes)
    objects = count // per_object
    owner = torch.randint(objects, (count,), generator=generator)
    centers = torch.rand(objects, 2, generator=generator) * side
    sides = 16 * torch.exp(2.5 * torch.rand(objects, 2, generator=generator))
    noise = torch.randn(2, count, 2, generator=generator)
    centers = centers[owner] + 0.15 * noise[0] * sides[owner]
    sides = sides[owner] * torch.exp(0.2 * noise[1])
    boxes = torch.cat([centers - sides / 2, centers + sides / 2], dim=1).double()
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


# name: the loop, and what gives the same
LOOPS: dict[str, tuple[Callable[..., Any], dict[str, Callable[..., Any]]]] = {
    "iou": (partial(greedy_loop, kind="iou"), {"batched_nms": batched_nms, "cluster_nms": cluster_nms}),
    "diou": (partial(greedy_loop, kind="diou"), {"batched_nms, DIoU": partial(batched_nms, kind="diou")}),
    "soft": (soft_loop, {"soft_nms": lambda *candidates: soft_nms(*candidates)[0]}),
}


def check(candidates: Candidates) -> None:
    """Each keeps what its loop keeps."""
    boxes, scores, labels = candidates
    for kind in ("iou", "diou"):
        expected = greedy_loop(*candidates, kind=kind).tolist()
        assert batched_nms(*candidates, kind=kind).tolist() == cluster_nms(*candidates, kind=kind).tolist() == expected
    assert soft_nms(boxes, scores.double(), labels)[0].tolist() == soft_loop(boxes, scores.double(), labels).tolist()


def against_loops(options: Namespace) -> Iterator[Row]:
    for count in (400, 1000, 4000):
        for classes in (1, 20):
            for per_object in (10, 30):
                candidates = crowd(count, classes, per_object)
                check(candidates)
                single = (candidates[0].float(), *candidates[1:])
                case = f"{count:,} boxes, {per_object} an object, {plural(classes, 'class')}"
                for loop, calls in LOOPS.values():
                    sides = {f"{name}, {case}": partial(call, *single) for name, call in calls.items()}
                    yield from compare(options, sides, partial(loop, *single), note="peer: the loop")
                yield from compare(options, {f"cluster_soft_nms, {case}": partial(cluster_soft_nms, *single)})


def against_torchvision(options: Namespace) -> Iterator[Row]:
    for count in (100, 1000, 4000, 8000, 20_000):
        for classes in (20, 80):
            boxes, scores, labels = crowd(count, classes, 10)
            theirs = ops.batched_nms(boxes, scores.double(), labels, 0.5)  # equal scores in any order
            assert torch.equal(batched_nms(boxes, scores, labels).sort().values, theirs.sort().values)
            single = (boxes.float(), scores, labels)
            sides = {f"batched_nms, {count:,} boxes, 10 an object, {classes} classes": partial(batched_nms, *single)}
            yield from compare(options, sides, partial(ops.batched_nms, *single, 0.5), note="peer: torchvision")


PARTS = {"torchvision": against_torchvision, "loop": against_loops}


def rows(options: Namespace) -> Iterator[Row]:
    for name, part in PARTS.items():
        if options.only in (None, name):
            yield from part(options)


if __name__ == "__main__":
    run(rows, arguments(__doc__, rounds=7, cases=PARTS))
