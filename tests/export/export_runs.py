"""Runs of all kinds of detectors whose scores and boxes are many and unlike, though nothing was learnt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import nn

from boxwright.export import onnx_graph
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
        outputs = {module: place for place, module in detector.net.named_modules() if _is_output(detector.net, place)}
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
            wanted, shift = (1.0, 1.0) if "logits" in outputs[module] else (0.2, 0.0)  # regions that overlap
            module.weight.data *= wanted / spread.view(-1, 1, 1, 1)
            module.bias.data = -middle * wanted / spread - shift
            module._forward_hooks.clear()
    return detector.eval()


def _is_output(net: nn.Module, place: str) -> bool:
    """Whether a module's values are logits, or the deltas that choose regions: a tower before them isn't one."""
    module, (parent, _, _) = net.get_submodule(place), place.rpartition(".")
    siblings = net.get_submodule(parent)
    if isinstance(siblings, nn.Sequential) and module is not siblings[-1]:
        return False
    named = "logits" in place or "rpn.deltas" in place
    return isinstance(module, nn.Conv2d) and named and module.groups == 1 and module.bias is not None


def lively_run(folder: Path, name: str, **options: object) -> Run:
    """The run that such a detector would be of."""
    run = Run(folder)
    run.keep(lively(name, **options))
    return run


@contextmanager
def graphs_kept() -> Iterator[None]:
    """Within, a graph of the same outputs is made once alone, as of one run: torch takes seconds for it."""
    made: dict[object, onnx.ModelProto] = {}
    make = onnx_graph.to_onnx

    def to_onnx(module: nn.Module, inputs: object, outputs: Sequence[str], **options: object) -> onnx.ModelProto:
        key = (*outputs, *options.items())
        if key not in made:
            made[key] = make(module, inputs, outputs, **options)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_graph, "to_onnx", to_onnx)
        yield


def found_by(run: Run, folder: Path, counts: Mapping[str, int], score: float = 0.4) -> Path:
    """A data set of so many pictures by split whose objects are what the run finds in them."""
    side = run.recipe.image_size
    detector, rng = run.load(), np.random.default_rng(0)
    categories = [{"id": label, "name": name} for label, name in enumerate(detector.classes)]
    for split, count in counts.items():
        images, annotations = [], []
        for number in range(count):
            coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8))
            file = folder / "images" / split / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            coarse.resize((side, side), Image.Resampling.BICUBIC).save(file)
            images.append({"id": number, "file_name": file.name, "width": side, "height": side})
            (found,) = detector.predict(file, score)
            for (x0, y0, x1, y1), label in zip(found.boxes.tolist(), found.labels.tolist(), strict=True):
                box = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": 0}
                annotations.append({"id": len(annotations), "image_id": number, "category_id": label, **box})
        table = folder / "annotations" / f"instances_{split}.json"
        table.parent.mkdir(exist_ok=True)
        content = {"images": images, "annotations": annotations, "categories": categories}
        table.write_text(json.dumps(content))
    return folder
