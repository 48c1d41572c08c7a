"""torchvision's detectors on small seeded backbones, and criteria for them. Nothing is downloaded."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.ssd import SSD
from torchvision.ops import MultiScaleRoIAlign

import boxwright as bw
from boxwright import losses, matching, mining
from boxwright.coding import DeltaCoder, DistanceCoder

CLASSES = 3  # without torchvision's background
WIDTH = 32
ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "torchvision.md").read_text("utf-8"), flags=re.DOTALL)
Criteria = dict[str, bw.DenseCriterion]


class Pyramid(nn.Module):
    """Four maps of strides 8, 16, 32 and 64, and the same width."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, WIDTH, 8, 8), nn.ReLU())
        self.down = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 3, 2, 1) for _ in range(3))
        self.out_channels = WIDTH

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        maps = [self.stem(images)]
        for layer in self.down:
            maps.append(layer(maps[-1]).relu())
        return OrderedDict((str(place), features) for place, features in enumerate(maps))


class SSDPyramid(Pyramid):
    def __init__(self) -> None:
        super().__init__()
        self.out_channels = [WIDTH] * 4


# A batch is padded to 96 x 128, where torchvision's cells of stride 64 are 48 and 64 px apart
SIZES = {"min_size": 72, "max_size": 120}


def make_ssd() -> SSD:
    boxes = DefaultBoxGenerator([[2], [2, 3], [2], [2]], scales=[0.15, 0.3, 0.5, 0.7, 0.9])
    return SSD(SSDPyramid(), boxes, (96, 96), CLASSES + 1)


def make_retinanet() -> RetinaNet:
    anchors = AnchorGenerator(((16, 20), (32, 40), (64, 80), (96, 120)), ((0.5, 1.0, 2.0),) * 4)
    return RetinaNet(Pyramid(), CLASSES + 1, anchor_generator=anchors, **SIZES)


def make_fcos() -> FCOS:
    return FCOS(
        Pyramid(), CLASSES + 1, anchor_generator=AnchorGenerator(((8,), (16,), (32,), (64,)), ((1.0,),) * 4), **SIZES
    )


def make_faster_rcnn() -> FasterRCNN:
    return FasterRCNN(
        Pyramid(),
        CLASSES + 1,
        rpn_anchor_generator=AnchorGenerator(((16,), (32,), (64,), (96,)), ((0.5, 1.0, 2.0),) * 4),
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2"], 3, 2),
        box_head=TwoMLPHead(WIDTH * 9, 1024),
        rpn_pre_nms_top_n_train=100,
        rpn_post_nms_top_n_train=50,
        rpn_batch_size_per_image=100_000,  # all: nothing is drawn at random
        rpn_positive_fraction=1.0,
        box_batch_size_per_image=100_000,
        box_positive_fraction=1.0,
        **SIZES,
    )


MAKERS: dict[str, Callable[[], nn.Module]] = {
    "ssd": make_ssd,
    "retinanet": make_retinanet,
    "fcos": make_fcos,
    "faster_rcnn": make_faster_rcnn,
}


def make(name: str) -> nn.Module:
    """Seeded, with heads that say something."""
    torch.manual_seed(3)
    model = MAKERS[name]()
    for part in ("head", "rpn"):
        for parameter in getattr(model, part, nn.Identity()).parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    return model


def images_and_targets() -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    generator = torch.Generator().manual_seed(1)
    images = [torch.rand(3, *size, generator=generator) for size in ((72, 110), (96, 80), (72, 72))]
    boxes = [[[4.0, 6, 34, 40], [30, 20, 80, 66], [50, 40, 66, 58]], [[10.0, 20, 70, 80]], []]
    labels = [[1, 3, 2], [3], []]
    return images, [
        {"boxes": torch.tensor(b).reshape(-1, 4), "labels": torch.tensor(n, dtype=torch.int64)}
        for b, n in zip(boxes, labels, strict=True)
    ]


def rules(name: str) -> Criteria:
    """torchvision's own rules for each of its models, as the documentation prints them."""
    (text,) = (block for block in BLOCKS if "retinanet = DenseCriterion" in block)
    names: dict[str, Any] = {}
    exec(text, names)
    if name != "faster_rcnn":
        return {"criterion": names[name]}
    for stage in ("rpn", "roi"):  # all that there is, as in make_faster_rcnn
        names[stage].miner = partial(names[stage].miner, count=100_000, positive_fraction=1.0)
    return {"criterion": names["rpn"], "roi": names["roi"]}


def others(name: str) -> Criteria:
    """Rules that torchvision has not."""
    delta, roi_delta = DeltaCoder((1, 1, 1, 1)), DeltaCoder((10, 10, 5, 5))
    return {
        "ssd": {
            "criterion": bw.DenseCriterion(
                matcher=matching.match_atss,
                coder=roi_delta,
                miner=partial(mining.ohem, count=64),
                class_loss=losses.softmax_focal_loss,
                box_loss=losses.ciou_loss,
            )
        },
        "retinanet": {
            "criterion": bw.DenseCriterion(
                matcher=partial(matching.match_atss, top=5),
                coder=delta,
                miner=partial(mining.ohem, count=64),
                class_loss=losses.binary_cross_entropy,
                box_loss=losses.ciou_loss,
            )
        },
        "fcos": {
            "criterion": bw.DenseCriterion(
                matcher=partial(matching.match_atss, top=9),
                coder=DistanceCoder(unit=1),
                class_loss=losses.sigmoid_focal_loss,
                box_loss=losses.ciou_loss,
            )
        },
        "faster_rcnn": {
            "criterion": bw.DenseCriterion(
                matcher=matching.match_iou,
                coder=delta,
                miner=partial(mining.ohem, count=64),
                class_loss=losses.sigmoid_focal_loss,
                box_loss=losses.ciou_loss,
            ),
            "roi": bw.DenseCriterion(
                matcher=partial(matching.match_iou, force=None),
                coder=roi_delta,
                miner=partial(mining.hard_examples, count=32),
                class_loss=losses.softmax_focal_loss,
                box_loss=losses.ciou_loss,
            ),
        },
    }[name]


def losses_and_gradients(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    found = model.train()(*images_and_targets())
    model.zero_grad()
    sum(found.values()).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {name: value.detach() for name, value in found.items()}, gradients
