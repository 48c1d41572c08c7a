"""What a forward pass keeps for the backward one: no more than torchvision's of the same network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torchvision.models import detection

import boxwright as bw
from boxwright.models.faster_rcnn import pool
from boxwright.recipes.criterion import build_criterion
from boxwright.training.step import supervise
from boxwright.types import Targets

LEARNS = {"pretrained": False, "freeze": 0, "norm_mode": "train"}
PLAIN = {"weights": None, "weights_backbone": None, "num_classes": 4}


def kept_bytes(forward: Callable[[], Any], weights: nn.Module | None = None) -> int:
    """Bytes of all storages that autograd keeps, those of the weights left out."""
    known = {p.untyped_storage().data_ptr() for p in weights.parameters()} if weights else set()
    kept: dict[int, Tensor] = {}  # holding the tensors, so that no address is used twice

    def note(x: Tensor) -> Tensor:
        kept.setdefault(x.untyped_storage().data_ptr(), x)
        return x

    with saved_tensors_hooks(note, lambda x: x):
        forward()
    return sum(x.untyped_storage().nbytes() for place, x in kept.items() if place not in known)


@pytest.mark.parametrize(
    ("name", "side", "theirs"),
    [
        ("ssd300", 300, lambda: detection.ssd300_vgg16(**PLAIN)),
        ("retinanet", 128, lambda: detection.retinanet_resnet50_fpn(**PLAIN, min_size=128, max_size=128)),
        ("faster-rcnn", 128, lambda: detection.fasterrcnn_resnet50_fpn(**PLAIN, min_size=128, max_size=128)),
    ],
)
@pytest.mark.filterwarnings("ignore:Changing trainable_backbone_layers")
def test_a_step_keeps_no_more_than_torchvisions(name: str, side: int, theirs: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    detector, peer = bw.create_detector(name, 3, image_size=side, **LEARNS).train(), theirs().train()
    criterion = build_criterion(detector.recipe)
    images = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8)
    boxes, labels = torch.tensor([[[5.0, 9, 80, 70], [60, 30, 120, 125]]]), torch.tensor([[0, 2]])
    targets = Targets(boxes, labels, torch.zeros(1, 2, dtype=torch.bool))
    truth = [{"boxes": boxes[0], "labels": labels[0] + 1}]
    ours = kept_bytes(lambda: supervise(detector, criterion, images, targets), detector)
    assert ours < 1.05 * kept_bytes(lambda: peer([images[0] / 255], truth), peer)


def test_pooling_keeps_places_and_not_features() -> None:
    """Each map's share of the regions' features is the size of them all, and nothing needs it again."""
    features = [torch.rand(1, 8, side, side, requires_grad=True) for side in (64, 32, 16, 8)]
    corners, sides = 150 * torch.rand(40, 2), 10 + 90 * torch.rand(40, 2)
    rois = [torch.cat([corners, corners + sides], 1)]
    assert kept_bytes(lambda: pool(features, rois)) < 40 * 200 < pool(features, rois).nbytes / 5
