"""Detectors of others that benchmarks compare with, beside those that torchvision has ready."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD

from boxwright.models.weights import lite0_weights
from boxwright.types import Targets


class Lite0Trunk(nn.Module):
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


def ssd_on_lite0(num_classes: int, **_: Any) -> SSD:
    """Make torchvision's SSD on the pretrained EfficientNet-Lite0, for images of 320 x 320 pixels."""
    anchors = DefaultBoxGenerator([[2], [2, 3], [2, 3], [2, 3], [2], [2]])
    return SSD(Lite0Trunk(), anchors, (320, 320), num_classes, image_mean=[0.5] * 3, image_std=[0.5] * 3)


def has_yolov8n() -> bool:
    """Say where the peer is left out: ultralytics is installed by whoever wants it, never by boxwright."""
    there = find_spec("ultralytics") is not None
    if not there:
        print("  ultralytics is not installed: yolov8n is left out")
    return there


def yolov8n(classes: int) -> nn.Module:
    """Make ultralytics' YOLOv8n without trained weights, ready to be trained."""
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import DetectionModel

    model = DetectionModel("yolov8n.yaml", nc=classes, verbose=False)
    model.args = get_cfg()  # the weights of its losses
    return model


def yolov8n_step(images: Tensor, targets: Targets, classes: int, precision: torch.dtype) -> Callable[[], None]:
    """Make a training step of YOLOv8n on uint8 images (B, 3, H, W), in channels_last: its losses, SGD, clipping."""
    model = yolov8n(classes).train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9, weight_decay=5e-4)
    side = images.shape[-1]
    low, high = targets.boxes.split(2, -1)
    count, each = targets.labels.shape
    batch = {
        "batch_idx": torch.arange(count).repeat_interleave(each).float(),
        "cls": targets.labels.reshape(-1, 1).float(),
        "bboxes": (torch.cat([(low + high) / 2, high - low], -1) / side).reshape(-1, 4),
    }

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            losses, _ = model.loss({**batch, "img": images.float() / 255})
        optimizer.zero_grad()
        losses.sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()

    return step
