"""Speed of a training step against torchvision, one thread, steps of both taking turns in one run.

    OMP_NUM_THREADS=1 python benchmarks/step.py [--only lite320|alike|ssd300] [--rounds 5]

- lite320: the default recipe against torchvision's SSD on the same pretrained EfficientNet-Lite0 (its maps of strides
  8, 16 and 32 and three more down to 2 x 2), all of it trained, batches of 8 at 320 px.
- alike: the same with nothing frozen in ours and channels_last memory in the peer.
- ssd300: against torchvision's ssd300_vgg16, batches of 2, in float32, and in bf16 where the processor has it.

A step of ours: normalize, forward, match, losses, backward, clip, the recipe's optimiser, averaged weights. The peer's:
its transform (normalization; the images are of network size already), forward with losses, backward, SGD. Ends with the
parts of a lite320 step.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from copy import deepcopy
from functools import partial

import numpy as np
import timm
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.models.detection import ssd300_vgg16
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD

import boxwright as bw
from boxwright.environment import environment_line
from boxwright.models.weights import lite0_weights
from boxwright.recipes.criterion import build_criterion
from boxwright.training.module import parameter_groups
from boxwright.training.precision import bf16_available
from boxwright.types import Targets

CLASSES, BOXES = 3, 13
Step = Callable[[], None]


def made_batch(size: int, side: int) -> tuple[Tensor, Targets]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (size, side, side, 3), generator=generator, dtype=torch.uint8).permute(0, 3, 1, 2)
    corners = torch.rand(size, BOXES, 2, generator=generator) * side * 0.7
    sides = side * (0.08 + 0.2 * torch.rand(size, BOXES, 2, generator=generator))
    labels = torch.randint(0, CLASSES, (size, BOXES), generator=generator)
    return images, Targets(torch.cat([corners, corners + sides], -1), labels, torch.zeros(size, BOXES).bool())


def our_step(recipe: str, batch: int, precision: str = "float32", **options: object) -> Step:
    detector = bw.create_detector(recipe, CLASSES, **options).train()
    criterion = build_criterion(detector.recipe)
    kinds = {"adamw": torch.optim.AdamW, "sgd": partial(torch.optim.SGD, momentum=0.9)}
    optimizer = kinds[detector.recipe.optimizer](parameter_groups(detector, 0.02), lr=1e-5)
    averaged = AveragedModel(detector, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=True)
    images, targets = made_batch(batch, detector.recipe.image_size)
    if precision == "bf16":
        detector.lay_out(torch.channels_last)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            outputs = detector(detector.normalize(images))
        losses = criterion(detector.anchors, outputs, targets)
        optimizer.zero_grad()
        losses.total.backward()
        nn.utils.clip_grad_norm_(detector.parameters(), 10.0)
        optimizer.step()
        averaged.update_parameters(detector)

    return step


class PeerTrunk(nn.Module):
    """EfficientNet-Lite0 as torchvision's SSD wants it: named maps, three further stages."""

    def __init__(self) -> None:
        super().__init__()
        self.body = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(2, 3, 4))
        own = self.body.state_dict()
        self.body.load_state_dict({name: value for name, value in lite0_weights().items() if name in own})
        self.extra = nn.ModuleList()
        channels = 320
        for width in (256, 256, 128):
            self.extra.append(
                nn.Sequential(
                    nn.Conv2d(channels, width // 2, 1),
                    nn.ReLU(inplace=True),
                    nn.Conv2d(width // 2, width, 3, stride=2, padding=1),
                    nn.ReLU(inplace=True),
                )
            )
            channels = width

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = list(self.body(images))
        for stage in self.extra:
            maps.append(stage(maps[-1]))
        return {str(place): x for place, x in enumerate(maps)}


def peer_step(model: SSD, batch: int, side: int, precision: str = "float32", channels_last: bool = False) -> Step:
    model.train()
    if channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5, momentum=0.9, weight_decay=5e-4)
    images, padded = made_batch(batch, side)
    floats = [image.float() / 255 for image in images]
    targets = [{"boxes": b, "labels": n + 1} for b, n in zip(padded.boxes, padded.labels, strict=True)]

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            losses = model(floats, deepcopy(targets))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()

    return step


def peer_on_lite0() -> SSD:
    anchors = DefaultBoxGenerator([[2], [2, 3], [2, 3], [2, 3], [2], [2]])
    return SSD(PeerTrunk(), anchors, (320, 320), CLASSES + 1, image_mean=[0.5] * 3, image_std=[0.5] * 3)


def compare(title: str, steps: dict[str, Step], batch: int, rounds: int) -> None:
    """Medians over rounds in which all take turns; ratios to the last one, round by round."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if turn:  # the first warms up
                seconds[name].append(time.perf_counter() - start)
    print(title)
    last = np.array(seconds[list(steps)[-1]])
    for name, taken in seconds.items():
        ratios = np.sort(last / np.array(taken))
        print(
            f"  {name:44s} {batch / np.median(taken):6.2f} images/s   {np.median(ratios):.2f} x "
            f"({ratios[0]:.2f}..{ratios[-1]:.2f})",
            flush=True,
        )


def parts(rounds: int) -> None:
    """Where the time of a lite320 step goes."""
    detector = bw.create_detector("lite320", CLASSES).train()
    criterion = build_criterion(detector.recipe)
    optimizer = torch.optim.AdamW(parameter_groups(detector, 0.02), lr=1e-5)
    averaged = AveragedModel(detector, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=True)
    images, targets = made_batch(8, 320)
    taken: dict[str, list[float]] = {}

    def clock(name: str, since: float) -> float:
        now = time.perf_counter()
        taken.setdefault(name, []).append(now - since)
        return now

    for _ in range(rounds + 1):
        start = now = time.perf_counter()
        x = detector.normalize(images)
        now = clock("normalize", now)
        maps = detector.net.backbone(x)
        now = clock("backbone forward", now)
        outputs = bw.types.DenseOutputs(*detector.net.head(maps))
        now = clock("neck and head forward", now)
        criterion.matcher(detector.anchors, targets.boxes, targets.labels, ignore=targets.ignore)
        matching = time.perf_counter() - now
        taken.setdefault("matching", []).append(matching)
        now = time.perf_counter()
        losses = criterion(detector.anchors, outputs, targets)
        taken.setdefault("losses (without matching)", []).append(time.perf_counter() - now - matching)
        now = time.perf_counter()
        optimizer.zero_grad()
        losses.total.backward()
        now = clock("backward", now)
        nn.utils.clip_grad_norm_(detector.parameters(), 10.0)
        optimizer.step()
        now = clock("clip and optimiser", now)
        averaged.update_parameters(detector)
        now = clock("averaged weights", now)
        taken.setdefault("whole step", []).append(now - start - matching)
    print("parts of a lite320 step, ms an image")
    for name, seconds in taken.items():
        print(f"  {name:28s} {1000 * np.median(seconds[1:]) / 8:6.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("lite320", "alike", "ssd300", "parts"))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    only, rounds = arguments.only, arguments.rounds
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(environment_line())
    if only in (None, "lite320"):
        steps = {
            "boxwright lite320": our_step("lite320", 8),
            "torchvision SSD, Lite0": peer_step(peer_on_lite0(), 8, 320),
        }
        compare("default recipe, batches of 8 at 320 px", steps, 8, rounds)
    if only in (None, "alike"):
        steps = {
            "boxwright lite320, nothing frozen": our_step("lite320", 8, freeze=0, freeze_depthwise=0),
            "torchvision SSD, Lite0, channels_last": peer_step(peer_on_lite0(), 8, 320, channels_last=True),
        }
        compare("like for like, batches of 8 at 320 px", steps, 8, rounds)
    if only in (None, "ssd300"):
        options = {"pretrained": False, "freeze": 0}
        steps = {"boxwright ssd300": our_step("ssd300", 2, **options)}
        if bf16_available("cpu"):
            steps["boxwright ssd300, bf16"] = our_step("ssd300", 2, "bf16", **options)
        else:
            print("this processor has no bf16 arithmetic: ssd300 in float32 alone")
        theirs = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=CLASSES + 1)
        steps["torchvision ssd300_vgg16"] = peer_step(theirs, 2, 300)
        compare("VGG16, batches of 2 at 300 px", steps, 2, rounds)
    if only in (None, "parts"):
        parts(rounds)


if __name__ == "__main__":
    main()
