"""Single calls on a GPU: the CPU's results, milliseconds, waits for the device."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from gpu_device import milliseconds, waits
from matching import made_targets
from torch import Tensor
from torchvision.models.detection._utils import Matcher, SSDMatcher
from torchvision.ops import (
    batched_nms,
    box_iou,
    complete_box_iou_loss,
    distance_box_iou_loss,
    generalized_box_iou_loss,
    sigmoid_focal_loss,
)

import boxwright as bw
from boxwright.anchors import RETINANET, SSD300, Anchors, make_anchors
from boxwright.data.decoded import Decoded
from boxwright.data.loading import Sample, collate
from boxwright.data.transforms import Augmentation, InputSize
from boxwright.data.windows import cut_window

LAST = {"force": "last"}  # as torchvision's SSD: what is one to one (the default) keeps more targets, and costs more
RETINA = {"positive": 0.5, "negative": 0.4, "force": "ties"}
# name: anchors, side, images, targets of each, our options, torchvision's matcher
MATCHING: dict[str, tuple[Any, int, int, int, dict[str, Any], Any]] = {
    "match 8732 x 8 x 10": (SSD300, 300, 8, 10, LAST, SSDMatcher(0.5)),
    "match 8732 x 32 x 10": (SSD300, 300, 32, 10, LAST, SSDMatcher(0.5)),
    "match 8732 x 32 x 100": (SSD300, 300, 32, 100, LAST, SSDMatcher(0.5)),
    "match one to one 8732 x 8 x 10": (SSD300, 300, 8, 10, {}, SSDMatcher(0.5)),
    "match one to one 8732 x 32 x 100": (SSD300, 300, 32, 100, {}, SSDMatcher(0.5)),
    "match retinanet 800 px x 8 x 20": (RETINANET, 800, 8, 20, RETINA, Matcher(0.5, 0.4, True)),
    "match retinanet 1024 px x 1 x 1000": (RETINANET, 1024, 1, 1000, RETINA, Matcher(0.5, 0.4, True)),
}
ROWS, CLASSES = 76725, 80
INPUT = InputSize(320)
Sides = tuple[Callable[[], Any], Callable[[], Any] | None]


def parity(device: torch.device, rounds: int) -> dict[str, bool]:
    """Whether each operation gives on the device what it gives on the CPU: the same choices, losses within 1e-5."""
    found = {**_same_matches(device), **_same_choices(device), **_same_losses(device), **_same_inputs(device)}
    print(f"  {sum(found.values())} of {len(found)} the same as on the CPU")
    for name in (name for name, same in found.items() if not same):
        print(f"  DIFFERS: {name}")
    return found


def _same_matches(device: torch.device) -> dict[str, bool]:
    found = {}
    for name, (spec, side, images, count, options, _) in MATCHING.items():
        anchors = make_anchors(spec, side)
        boxes, labels = made_targets((side, side), images, count)
        for force in ("bipartite", "last", "ties", None) if count <= 20 else (options.get("force", "bipartite"),):
            call = partial(bw.matching.match_iou, **{**options, "force": force})
            found[f"{name}, {force}"] = _equal(call, anchors, boxes, labels, device)
    anchors = make_anchors(SSD300, 300)
    boxes, labels = made_targets((300, 300), 8, 10)
    generator = torch.Generator().manual_seed(1)
    scores = torch.rand(8, len(anchors), 3, generator=generator)
    predictions = anchors.boxes + 2 * torch.randn(8, len(anchors), 4, generator=generator)

    def task_aligned(anchors: Anchors, boxes: Tensor, labels: Tensor) -> Any:
        there = {"scores": scores.to(boxes.device), "predictions": predictions.to(boxes.device)}
        return bw.matching.match_task_aligned(anchors, boxes, labels, **there)

    others = {"atss": bw.matching.match_atss, "points": bw.matching.match_points, "task aligned": task_aligned}
    others["ssd_tf"] = bw.matching.match_ssd_tf
    return found | {name: _equal(call, anchors, boxes, labels, device) for name, call in others.items()}


def _equal(call: Callable[..., Any], anchors: Anchors, boxes: Tensor, labels: Tensor, device: torch.device) -> bool:
    here = call(anchors, boxes, labels)
    there = call(anchors.to(device), boxes.to(device), labels.to(device))
    state = torch.equal(here.state, there.state.cpu())
    return state and torch.equal(here.gt_index[here.state == 1], there.gt_index.cpu()[here.state == 1])


def _same_choices(device: torch.device) -> dict[str, bool]:
    generator = torch.Generator().manual_seed(0)
    losses = torch.rand(32, 8732, generator=generator)
    state = (torch.rand(32, 8732, generator=generator) < 0.005).to(torch.int8)
    state[torch.rand(32, 8732, generator=generator) < 0.01] = -1
    miners = {
        "hard_negatives": bw.mining.hard_negatives,
        "hard_negatives of the batch": partial(bw.mining.hard_negatives, scope="batch"),
        "hard_negatives, tf": partial(bw.mining.hard_negatives, scope="batch", cutoff="tf"),
        "hard_examples": bw.mining.hard_examples,
        "ohem": partial(bw.mining.ohem, count=128),
    }
    found = {
        name: torch.equal(miner(losses, state), miner(losses.to(device), state.to(device)).cpu())
        for name, miner in miners.items()
    }
    boxes, scores, labels = made_candidates(1000)
    there = boxes.to(device), scores.to(device), labels.to(device)
    for kind in ("iou", "diou"):
        here = bw.nms.batched_nms(boxes, scores, labels, kind=kind)
        found[f"nms {kind}"] = torch.equal(here, bw.nms.batched_nms(*there, kind=kind).cpu())
    for name in ("soft_nms", "cluster_nms", "cluster_soft_nms"):
        here, away = getattr(bw.nms, name)(boxes, scores, labels), getattr(bw.nms, name)(*there)
        found[name] = all(_close(a, b.cpu()) for a, b in zip(_tensors(here), _tensors(away), strict=True))
    return found


def _tensors(value: Any) -> tuple[Tensor, ...]:
    return (value,) if isinstance(value, Tensor) else tuple(value)


def _close(here: Tensor, there: Tensor) -> bool:
    if here.shape != there.shape:
        return False
    return torch.allclose(here, there, atol=1e-4) if here.is_floating_point() else torch.equal(here, there)


def _same_losses(device: torch.device) -> dict[str, bool]:
    found = {}
    for name, space in bw.losses.available().items():
        loss, inputs, targets, options = getattr(bw.losses, name), *_arguments(name, space)
        values = []
        for place in (torch.device("cpu"), device):
            x = inputs.clone().to(place).requires_grad_()
            there = {key: v.clone().to(place) if isinstance(v, Tensor) else v for key, v in options.items()}
            value = loss(x, targets.to(place), reduction="sum", **there)
            value.backward()
            values.append((value.detach().cpu(), x.grad.cpu()))
        (here, gradient), (there_, other) = values
        scale = float(gradient.abs().max()) + 1e-12
        found[name] = bool((here - there_).abs() <= 1e-5 * here.abs()) and bool(
            ((gradient - other).abs() <= 1e-5 * scale).all()
        )
    return found


def _same_inputs(device: torch.device) -> dict[str, bool]:
    """Windows that are resampled on the device, to the bit."""
    found = {}
    rng = np.random.default_rng(0)
    for kind in ("light", "ssd"):
        samples = []
        for side in (200, 480, 900):
            image = rng.integers(0, 256, (side, 640, 3), np.uint8)
            drawn, _, _ = Augmentation(kind, "both").draw((side, 640), np.zeros((0, 4), np.float32), INPUT, rng)
            pixels, window = cut_window(Decoded.whole(image), drawn)
            none = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool)
            samples.append(Sample(pixels, *none, side, (side, 640), window))
        batch = collate(samples)
        there = batch.to(device).resampled().images.cpu()
        found[f"inputs, {kind}"] = torch.equal(batch.resampled().images, there)
    return found


def _arguments(name: str, space: str) -> tuple[Tensor, Tensor, dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)
    loss = getattr(bw.losses, name)
    options: dict[str, Any] = {}
    if space in ("softmax", "sigmoid"):
        state = bw.losses.initial_state(loss, 20)
        options = {} if state is None else {"state": state}
        columns = 21 if space == "softmax" else 20
        logits = 3 * torch.randn(4000, columns, generator=generator)
        labels = torch.randint(0, 21, (4000,), generator=generator)
        if name in ("quality_focal_loss", "varifocal_loss"):
            soft = torch.rand(4000, 20, generator=generator)
            return logits, soft * (torch.rand(4000, 20, generator=generator) < 0.05), options
        return logits, labels, options
    if space == "boxes":
        boxes = made_targets((300, 300), 1, 4000)[0][0]
        options |= {"image_size": (300, 300)} if name == "mpdiou_loss" else {}
        return boxes + 4 * torch.randn(4000, 4, generator=generator), boxes, options
    if space == "deltas":
        return torch.randn(4000, 4, generator=generator), torch.randn(4000, 4, generator=generator), options
    return torch.randn(4000, 17, generator=generator), 15 * torch.rand(4000, generator=generator), options


def made_candidates(count: int, classes: int = 20) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (n, 4) in clusters of twenty, scores and labels."""
    generator = torch.Generator().manual_seed(0)
    groups = count // 20
    centers = 600 * torch.rand(groups, 2, generator=generator)
    owner = torch.randint(0, groups, (count,), generator=generator)
    half = 10 + 30 * torch.rand(count, 2, generator=generator)
    middle = centers[owner] + 6 * torch.randn(count, 2, generator=generator)
    boxes = torch.cat([middle - half, middle + half], 1)
    return boxes, torch.rand(count, generator=generator), owner % classes


def time_ops(device: torch.device, rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds and waits of single calls, and torchvision's where it has such a one."""
    figures = {}
    for name, (ours, peer) in {**_matching(device), **_losses(device), **_nms(device)}.items():
        mine = milliseconds(ours, device, rounds)
        figures[name] = {"ours ms": mine, "waits": waits(ours, device)}
        line = f"  {name:40s} {mine:8.3f} ms, {figures[name]['waits']:2d} waits"
        if peer is not None:
            theirs = milliseconds(peer, device, rounds)
            figures[name] |= {"torchvision ms": theirs, "torchvision waits": waits(peer, device)}
            line += f"   torchvision {theirs:8.3f} ms, {figures[name]['torchvision waits']:2d}   {theirs / mine:5.2f}x"
        print(line, flush=True)
    return figures


def _matching(device: torch.device) -> dict[str, Sides]:
    rows: dict[str, Sides] = {}
    for name, (spec, side, images, count, options, matcher) in MATCHING.items():
        anchors = make_anchors(spec, side).to(device)
        boxes, labels = (value.to(device) for value in made_targets((side, side), images, count))
        rows[name] = (
            partial(bw.matching.match_iou, anchors, boxes, labels, **options),
            partial(_torchvision, anchors.boxes, boxes, matcher),
        )
    anchors = make_anchors(SSD300, 300).to(device)
    boxes, labels = (value.to(device) for value in made_targets((300, 300), 8, 10))
    rows["match_atss 8732 x 8 x 10"] = (partial(bw.matching.match_atss, anchors, boxes, labels), None)
    rows["match_points 8732 x 8 x 10"] = (partial(bw.matching.match_points, anchors, boxes, labels), None)
    return rows


def _torchvision(anchors: Tensor, boxes: Tensor, matcher: Any) -> None:
    for image in boxes:
        matcher(box_iou(image, anchors))


def _losses(device: torch.device) -> dict[str, Sides]:
    logits = torch.randn(ROWS, CLASSES, device=device, requires_grad=True)
    labels = torch.full((ROWS,), CLASSES, device=device)
    labels[torch.randint(0, ROWS, (600,), device=device)] = 3

    def ours() -> None:
        logits.grad = None
        bw.losses.sigmoid_focal_loss(logits, labels, reduction="sum").backward()

    def peer() -> None:
        logits.grad = None
        targets = torch.zeros_like(logits)
        foreground = (labels < CLASSES).nonzero()[:, 0]
        targets[foreground, labels[foreground]] = 1
        sigmoid_focal_loss(logits, targets, reduction="sum").backward()

    rows: dict[str, Sides] = {f"sigmoid_focal_loss {ROWS} x {CLASSES}": (ours, peer)}
    peers = {"giou": generalized_box_iou_loss, "diou": distance_box_iou_loss, "ciou": complete_box_iou_loss}
    for count in (1000, 200000):
        boxes = made_targets((300, 300), 1, count)[0][0].to(device)
        moved = (boxes + 3 * torch.randn_like(boxes)).requires_grad_()
        for name, theirs in peers.items():
            mine = getattr(bw.losses, f"{name}_loss")
            rows[f"{name}_loss of {count}"] = tuple(  # type: ignore[assignment]
                (lambda loss=loss, a=moved, b=boxes: loss(a, b, reduction="sum").backward()) for loss in (mine, theirs)
            )
    return rows


def _nms(device: torch.device) -> dict[str, Sides]:
    rows: dict[str, Sides] = {}
    for count in (1000, 4000):
        boxes, scores, labels = (value.to(device) for value in made_candidates(count))
        peer = partial(batched_nms, boxes, scores, labels, 0.5)
        for kind in ("iou", "diou"):
            ours = partial(bw.nms.batched_nms, boxes, scores, labels, kind=kind)
            rows[f"batched_nms {kind} of {count}"] = (ours, peer if kind == "iou" else None)
        for name in ("soft_nms", "cluster_nms", "cluster_soft_nms"):
            rows[f"{name} of {count}"] = (partial(getattr(bw.nms, name), boxes, scores, labels), None)
    return rows
