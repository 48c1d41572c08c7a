"""Size and speed of every built-in recipe's network, and the files that it can be exported to.

    python benchmarks/models.py [--only RECIPE] [--rounds 3] [--threads 1|2]

Networks have three classes, the recipe's own input and no weights that were learned. Training: a bare step (forward,
losses, backward, clipping, SGD), frozen what the recipe freezes, on images in memory, 8 at a time, or 1 where a step of
8 would take long. Prediction: from a JPEG file of 640 x 480 to boxes, one by one, as `predict` makes the network ready,
above a score of .3, which next to nothing reaches. All in float32. Exports: the recipe's network for a small input, on
EfficientNet-Lite0 where its own backbone is a large one, becomes the file, which is held against it as `boxwright
export` does.
"""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import models_table
import numpy as np
import torch
from gpu_steps import step_of
from PIL import Image
from turns import Call, Row, arguments, run, take_turns

from boxwright._util.allocator import keep_large_blocks
from boxwright.export import Unfaithful, export_run
from boxwright.models import Detector, build_detector
from boxwright.models.size import network_size
from boxwright.recipes import Recipe, get_recipe, list_recipes
from boxwright.runs import Run

CLASSES = ("a", "b", "c")
FILES = 2
LARGE = 5e9
"""Multiply-adds of an image from which on training takes one image at a time."""
FORMS = dict(zip(models_table.FORMS, ("onnx", "openvino", "torch"), strict=True))
SMALL_SIDE = 128
"""Of the exported networks' input, but SSD's, whose maps go by its own."""
LIGHT = {"vgg16": "tf_efficientnet_lite0", "resnet50": "tf_efficientnet_lite0"}


def recipes() -> dict[str, Recipe]:
    """Each recipe by name but `auto`, which is `lite320` until it sees images."""
    return {name: get_recipe(name, classes=CLASSES) for name in list_recipes() if name != "auto"}


def train(recipe: Recipe, batch: int) -> Call:
    """A step on made images."""
    return step_of(build_detector(recipe, pretrained=False), batch, torch.device("cpu"), torch.float32)


def predict(recipe: Recipe, files: list[Path]) -> Call:
    """A prediction of each file."""
    detector = build_detector(recipe, pretrained=False).eval().for_inference()
    return partial(_each, detector, files)


def _each(detector: Detector, files: list[Path]) -> None:
    for file in files:
        detector.predict(file, score=0.3)


def exports(recipe: Recipe, folder: Path) -> list[str]:
    """Which files the recipe's network becomes that say what it says."""
    side = recipe.image_size if recipe.detector.startswith("ssd") else SMALL_SIDE
    backbone = LIGHT.get(recipe.backbone, recipe.backbone)
    small = recipe.replace(image_size=side, resize="squash", backbone=backbone)
    kept = Run(folder / recipe.detector)
    kept.keep(build_detector(small, pretrained=False).eval())
    return [shown for shown, form in FORMS.items() if _is_faithful(kept.folder, form)]


def _is_faithful(folder: Path, form: str) -> bool:
    try:
        export_run(folder, form=form)
    except Unfaithful:
        return False
    return True


def make_files(folder: Path) -> list[Path]:
    """JPEG files of smooth colors."""
    rng, files = np.random.default_rng(0), [folder / f"{number}.jpg" for number in range(FILES)]
    for file in files:
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
        coarse.resize((640, 480), Image.Resampling.BICUBIC).save(file, quality=90)
    return files


def rows(options: Namespace) -> Iterator[Row]:
    keep_large_blocks()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        files = make_files(Path(folder))
        for name, recipe in recipes().items():
            if options.only in (None, name):
                yield from of_recipe(name, recipe, files, options.rounds)


def of_recipe(name: str, recipe: Recipe, files: list[Path], rounds: int) -> Iterator[Row]:
    """What its sizes are, how long it takes, and where it goes."""
    size = network_size(recipe)
    yield Row(name, recipe.image_size, unit="px")
    yield Row(name, size.parameters, unit="parameters")
    yield Row(name, size.multiply_adds, unit="multiply-adds")
    batch = 1 if size.multiply_adds > LARGE else 8
    sides: dict[str, Callable[[], Call]] = {
        "images/s": lambda: train(recipe, batch),
        "ms": lambda: predict(recipe, files),
    }
    for unit, make in sides.items():  # one in memory at a time
        taken = float(np.median(take_turns({unit: make()}, rounds)[unit]))
        yield Row(name, batch / taken if unit == "images/s" else 1000 * taken / len(files), unit=unit)
    forms = exports(recipe, files[0].parent)
    yield Row(name, len(forms), unit="exports", note=", ".join(forms))


if __name__ == "__main__":
    run(rows, arguments(__doc__, rounds=3, cases=recipes()))
