"""Speed of a training step against torchvision's detectors and YOLOv8n.

    python benchmarks/step.py [--only CASE] [--rounds 5] [--threads 1|2]

Both sides get the same images and boxes, float32 and (where the processor has it) bf16 by autocast, channels_last
memory and the same threads.

- default: lite320 as `boxwright train` makes its steps (first stages and large depthwise kernels frozen, AdamW, clipped
  gradients, averaged weights), batches of 8 at 320 px, against three detectors that train all they have, by SGD with
  clipped gradients: torchvision's SSD on the same pretrained EfficientNet-Lite0, its ssdlite320 (MobileNetV3, a smaller
  network), and ultralytics' yolov8n where that is installed (lite320 with nothing frozen takes turns with it too).
- The others are like for like, SGD and clipped gradients on both sides, nothing frozen, no averages: lite320 against
  that SSD and ssdlite320; ssd300 in batches of 2; retinanet, faster-rcnn and unitbox (against FCOS) on ResNet-50 with
  one image of 384 px.
- parts: where the time of a lite320 step goes.

Ours: normalize, forward, match, losses, backward, optimizer. torchvision's: its transform (normalization; the images
are of network size already), forward with losses, backward, optimizer. The note says which share of our step lies
outside the network: everything but its forward pass, and the backward pass from a sum of its outputs.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from statistics import median
from time import process_time

import torch
import torchvision.models.detection as torchvision
from gpu_steps import CLASSES, RESNET, Case, made_batch, our_step, peer_step
from peers import has_yolov8n, ssd_on_lite0, yolov8n_step
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from turns import Row, arguments, compare, run

import boxwright as bw
from boxwright.recipes.criterion import build_criterion
from boxwright.training.layer_rates import parameter_groups
from boxwright.training.precision import bf16_available

CPU = torch.device("cpu")
ALL = {"freeze": 0, "freeze_depthwise": 0}
AT_384 = {"min_size": 384, "trainable_backbone_layers": 5}
ON_LITE0 = Case("lite320", 8, 320, ALL, ssd_on_lite0)
ALIKE = {
    "lite320, SSD on Lite0": ON_LITE0,
    "lite320, ssdlite320": ON_LITE0._replace(peer=torchvision.ssdlite320_mobilenet_v3_large),
    "ssd300": Case("ssd300", 2, 300, {"freeze": 0}, torchvision.ssd300_vgg16),
    "retinanet": Case("retinanet", 1, 384, RESNET, torchvision.retinanet_resnet50_fpn, AT_384),
    "faster-rcnn": Case("faster-rcnn", 1, 384, RESNET, torchvision.fasterrcnn_resnet50_fpn, AT_384),
    "unitbox, fcos": Case("unitbox", 1, 384, RESNET, torchvision.fcos_resnet50_fpn, AT_384),
}
PEERS = ("SSD on Lite0", "ssdlite320", "yolov8n")
CASES = ("default", *ALIKE, "parts")
PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}


class DefaultStep:
    """A step of lite320 with all that its recipe asks for, one part after the other."""

    def __init__(self, batch: int) -> None:
        self.detector = bw.create_detector("lite320", CLASSES).train().set_memory_format(torch.channels_last)
        self.criterion = build_criterion(self.detector.recipe)
        self.optimizer = torch.optim.AdamW(parameter_groups(self.detector, 0.02), lr=1e-5)
        self.averaged = AveragedModel(self.detector, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=True)
        self.images, self.targets = made_batch(batch, 320, CPU)

    def __call__(self, precision: torch.dtype, entered: Callable[[str], object] = lambda part: None) -> None:
        """Make the step; ``entered`` is told the name of each part before it begins."""
        detector, targets = self.detector, self.targets
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            entered("normalize")
            x = detector.normalize(self.images)
            entered("backbone, forward")
            maps = detector.net.backbone(x)
            entered("neck and head, forward")
            outputs = bw.types.DenseOutputs(*detector.net.head(maps))
        entered("matching and losses")
        losses = self.criterion(detector.anchors, outputs, targets)
        entered("backward")
        self.optimizer.zero_grad()
        losses.total.backward()
        entered("clip and optimizer")
        nn.utils.clip_grad_norm_(detector.parameters(), 10.0)
        self.optimizer.step()
        entered("averaged weights")
        self.averaged.update_parameters(detector)
        entered("end")


def parts(rounds: int) -> Iterator[Row]:
    """Medians of the parts of a step in float32, and of matching alone, for an image."""
    step = DefaultStep(8)
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds + 1):
        times: list[tuple[str, float]] = []
        step(torch.float32, lambda part, times=times: times.append((part, process_time())))
        for (part, start), (_, end) in pairwise(times):
            seconds.setdefault(part, []).append(end - start)
        start = process_time()
        step.criterion.matcher(step.detector.anchors, *step.targets[:2], ignore=step.targets.ignore)
        seconds.setdefault("matching alone", []).append(process_time() - start)
    for part, taken in seconds.items():
        yield Row(f"lite320, default, an image: {part}", 1000 * median(taken[1:]) / 8)


def alike(options: Namespace, name: str, precision: str) -> Iterator[Row]:
    case, kind = ALIKE[name], PRECISIONS[precision]
    step = our_step(case, CPU, kind)
    sides = {f"{name}, {precision}": step, "network": partial(step, network_alone=True)}
    row, network = compare(options, sides, peer_step(case, CPU, kind), unit="images/s", items=case.batch)
    yield row._replace(note=f"{1 - row.ours / network.ours:.0%} outside the network")


def by_default(options: Namespace, peer: str, precision: str) -> Iterator[Row]:
    kind = PRECISIONS[precision]
    if peer == "yolov8n":
        theirs = yolov8n_step(*made_batch(8, 320, CPU), CLASSES, kind)
        sides = {"lite320, yolov8n": our_step(ON_LITE0, CPU, kind)}
    else:
        theirs, sides = peer_step(ALIKE[f"lite320, {peer}"], CPU, kind), {}
    sides = {f"lite320 by default, {peer}": partial(DefaultStep(8), kind), **sides}
    named = {f"{name}, {precision}": step for name, step in sides.items()}
    yield from compare(options, named, theirs, unit="images/s", items=8)


def rows(options: Namespace) -> Iterator[Row]:
    precisions = [name for name in PRECISIONS if name == "float32" or bf16_available("cpu")]
    chosen = [options.only] if options.only else CASES
    for precision in precisions:
        for peer in PEERS if "default" in chosen else ():
            if peer != "yolov8n" or has_yolov8n():
                yield from by_default(options, peer, precision)
        for name in ALIKE:
            if name in chosen:
                yield from alike(options, name, precision)
    if "parts" in chosen:
        yield from parts(options.rounds)


if __name__ == "__main__":
    run(rows, arguments(__doc__, rounds=5, cases=CASES))
