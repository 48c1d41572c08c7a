"""Runs of all kinds of detectors whose scores and boxes are many and unlike, though nothing was learnt."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from boxwright.models import Detector, create_detector
from boxwright.runs import Run

SMALL = {"image_size": 64, "pretrained": False, "freeze": 0, "score": 0.2, "norm_mode": "train"}
PYRAMID = {**SMALL, "backbone": "resnet18", "width": 16, "image_size": 128}
KINDS = {
    "lite320": {**SMALL, "width": 16},
    "tiny-detector": SMALL,
    "retinanet": PYRAMID,
    "unitbox": {**PYRAMID, "centerness": True},
    "faster-rcnn": {
        **SMALL,
        "backbone": "tf_efficientnet_lite0",
        "image_size": 96,
        "width": 16,
        "hidden": 32,
        "proposals": 60,
    },
}
LARGE = {
    "nano416": {**SMALL, "image_size": 128},
    "ssdlite300": {**SMALL, "image_size": 300},
    "ssd300": {**SMALL, "image_size": 300, "backbone": "resnet18"},
    "ssd512": {**SMALL, "image_size": 512, "backbone": "resnet18"},
}


def lively(name: str, **options: object) -> Detector:
    """A detector whose output layers have large weights."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        detector = create_detector(name, len(options.get("classes", "abc")), **{**{**KINDS, **LARGE}[name], **options})
        outputs = [module for place, module in detector.net.named_modules() if _is_output(place, module)]
        for module in detector.net.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        maps: dict[nn.Module, torch.Tensor] = {}
        for module in outputs:
            nn.init.normal_(module.weight)
            nn.init.zeros_(module.bias)
            module.register_forward_hook(lambda module, _, cells: maps.setdefault(module, cells[0]).shape and None)
        detector.eval()(torch.randn(1, 3, *[detector.recipe.image_size] * 2))
        for module, cells in maps.items():  # the finest map of each layer, (C, H, W)
            spread, middle = cells.flatten(1).std(1, correction=0).clamp(min=1e-3), cells.flatten(1).mean(1)
            module.weight.data /= spread.view(-1, 1, 1, 1)
            module.bias.data = -middle / spread - 1
            module._forward_hooks.clear()
    return detector.eval()


def _is_output(place: str, module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and "logits" in place and module.groups == 1 and module.bias is not None


def lively_run(folder: Path, name: str, **options: object) -> Run:
    """The run that such a detector would be of."""
    run = Run(folder)
    run.keep(lively(name, **options))
    return run
