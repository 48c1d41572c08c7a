"""Whole training steps on a GPU against torchvision's detectors."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torchvision.models.detection as peers
from gpu_device import gibibytes, milliseconds, waits
from torch import Tensor, nn

import boxwright as bw
from boxwright.models import Detector, TwoStageDetector
from boxwright.recipes.criterion import build_criterion
from boxwright.training.layer_rates import parameter_groups
from boxwright.training.step import supervise
from boxwright.types import Targets

CLASSES, BOXES = 20, 12
RESNET = {"backbone": "resnet50", "freeze": 0, "resize": "squash", "norm_mode": "train"}
AT_800 = {"min_size": 800, "trainable_backbone_layers": 5}


class Case(NamedTuple):
    """One detector of ours and its peer; a batch of so many inputs of so many pixels."""

    recipe: str
    batch: int
    side: int
    ours: dict[str, Any]
    peer: Callable[..., nn.Module]
    theirs: dict[str, Any] = {}  # noqa: RUF012


CASES = (
    Case("lite320", 64, 320, {"freeze": 0, "freeze_depthwise": 0}, peers.ssdlite320_mobilenet_v3_large),
    Case("ssd300", 32, 300, {"freeze": 0}, peers.ssd300_vgg16),
    Case("retinanet", 8, 800, RESNET, peers.retinanet_resnet50_fpn, AT_800),
    Case("faster-rcnn", 8, 800, RESNET, peers.fasterrcnn_resnet50_fpn, AT_800),
    Case("unitbox", 8, 800, RESNET, peers.fcos_resnet50_fpn, AT_800),
)


def made_batch(size: int, side: int, device: torch.device, classes: int = CLASSES) -> tuple[Tensor, Targets]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (size, side, side, 3), generator=generator, dtype=torch.uint8).permute(0, 3, 1, 2)
    corners = 0.7 * side * torch.rand(size, BOXES, 2, generator=generator)
    sides = side * (0.08 + 0.2 * torch.rand(size, BOXES, 2, generator=generator))
    labels = torch.randint(0, classes, (size, BOXES), generator=generator)
    targets = (torch.cat([corners, corners + sides], -1), labels, torch.zeros(size, BOXES, dtype=torch.bool))
    return images.to(device), Targets(*(value.to(device) for value in targets))


def time_steps(device: torch.device, rounds: int) -> dict[str, dict[str, float]]:
    """Images/s, GiB and waits of both sides, in float32 and bf16, and the share of ours outside the network."""
    figures: dict[str, dict[str, float]] = {}
    for case in CASES if device.type == "cuda" else _small():
        for precision in (torch.bfloat16, torch.float32):
            name = f"{case.recipe} B{case.batch} {case.side} px {str(precision).removeprefix('torch.')}"
            ours = _ours(case, device, precision, rounds)
            print(f"  {name:32s} {_line(ours)}, {ours['outside the network']:.0%} outside the network", flush=True)
            peer = _measured(peer_step(case, device, precision), case.batch, device, rounds)
            ratio = ours["images/s"] / peer["images/s"]
            print(f"  {'torchvision':32s} {_line(peer)}   {ratio:.2f}x", flush=True)
            figures[name] = ours | {f"torchvision {key}": value for key, value in peer.items()}
    return figures


def _line(row: dict[str, float]) -> str:
    return f"{row['images/s']:7.1f} images/s {row['GiB']:5.1f} GiB {row['waits']:3.0f} waits"


def _small() -> list[Case]:
    """For a processor: to try the script itself."""
    small = [case._replace(batch=2) for case in CASES[:2]]
    return small + [case._replace(batch=1, side=384, theirs={**case.theirs, "min_size": 384}) for case in CASES[2:]]


def _ours(case: Case, device: torch.device, precision: torch.dtype, rounds: int) -> dict[str, float]:
    step = our_step(case, device, precision)
    row = _measured(step, case.batch, device, rounds)
    network = milliseconds(partial(step, network_alone=True), device, rounds)
    return row | {"outside the network": 1 - network / 1000 * row["images/s"] / case.batch}


def _measured(step: Callable[[], None], batch: int, device: torch.device, rounds: int) -> dict[str, float]:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()  # of the side before
    taken = milliseconds(step, device, rounds)
    return {"images/s": 1000 * batch / taken, "waits": waits(step, device), "GiB": gibibytes(step, device)}


def our_step(case: Case, device: torch.device, precision: torch.dtype) -> Callable[..., None]:
    detector = bw.create_detector(case.recipe, CLASSES, pretrained=False, image_size=case.side, **case.ours)
    return step_of(detector, case.batch, device, precision)


def step_of(detector: Detector, batch: int, device: torch.device, precision: torch.dtype) -> Callable[..., None]:
    """A bare step: forward, losses, backward, gradient clipping, optimizer; nothing is read or logged."""
    detector = detector.to(device).train().set_memory_format(torch.channels_last)
    recipe = detector.recipe
    criterion = build_criterion(recipe).to(device)
    optimizer = torch.optim.SGD(parameter_groups(detector, 5e-4), lr=1e-6, momentum=0.9)
    images, targets = made_batch(batch, recipe.image_size, device, len(recipe.classes))
    network = _network(detector, criterion, images, targets)

    def step(network_alone: bool = False) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
            loss = _sum(network()) if network_alone else supervise(detector, criterion, images, targets)[0].total
        optimizer.zero_grad()
        loss.backward()  # type: ignore[union-attr]
        nn.utils.clip_grad_norm_(detector.parameters(), 10.0)
        optimizer.step()

    return step


def _network(detector: Detector, criterion: nn.Module, images: Tensor, targets: Targets) -> Callable[[], list[Any]]:
    """The network alone: a call gives its raw outputs, a second stage's at regions that were selected once."""
    if not isinstance(detector, TwoStageDetector):
        return lambda: [detector(detector.normalize(images))]
    with torch.no_grad():
        rois = criterion.select(detector(detector.normalize(images)).proposals, targets)

    def outputs() -> list[Any]:
        first = detector(detector.normalize(images))
        return [first, detector.refine(first.features, rois)]

    return outputs


def _sum(outputs: Any) -> Tensor | float:
    """Of all raw outputs that carry a gradient: the cheapest loss there is."""
    if isinstance(outputs, Tensor):
        return outputs.float().sum() if outputs.requires_grad else 0.0
    return sum(_sum(part) for part in outputs if isinstance(part, Tensor | tuple | list))


def peer_step(case: Case, device: torch.device, precision: torch.dtype) -> Callable[[], None]:
    """The same of torchvision's, with the same memory format, precision, optimizer and clipping."""
    model = case.peer(weights=None, weights_backbone=None, num_classes=CLASSES + 1, **case.theirs)
    model = model.to(device).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9, weight_decay=5e-4)
    images, targets = made_batch(case.batch, case.side, device)
    inputs = [image.float() / 255 for image in images]
    wanted = [{"boxes": boxes, "labels": labels + 1} for boxes, labels, _ in zip(*targets, strict=True)]

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
            losses = model(inputs, [dict(target) for target in wanted])
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()

    return step
