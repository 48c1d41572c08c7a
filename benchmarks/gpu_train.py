"""``boxwright.train`` over image files on a GPU, against the bare step of the same recipe."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from gpu_device import milliseconds, wait
from gpu_steps import CLASSES, step_of
from lightning.pytorch.callbacks import Callback
from PIL import Image
from rich.console import Console

import boxwright as bw
from boxwright.models import build_detector

WARM, TIMED = 40, 120  # steps
# recipe, batch, options
CASES: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("lite320", 64, {}),
    ("ssd300", 32, {"pretrained": False, "freeze": 0}),
)


class Stopwatch(Callback):
    """The time of so many steps once the loaders are warm, the device waited for at both ends, and of what is between
    the steps: waiting for input, and the loop."""

    def __init__(self, warm: int) -> None:
        self.warm, self.begun = warm, time.perf_counter()
        self.first_step = self.start = self.seconds = self.between = 0.0
        self._ended: float | None = None

    def on_train_batch_start(self, *_: Any) -> None:
        if self._ended is not None:
            self.between += time.perf_counter() - self._ended

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        if trainer.global_step == 1:
            self.first_step = time.perf_counter() - self.begun
        if trainer.global_step == self.warm:
            wait(module.device)
            self.start = time.perf_counter()
        if trainer.global_step >= self.warm:
            self._ended = time.perf_counter()

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        wait(module.device)
        self.seconds = time.perf_counter() - self.start


def made_files(folder: Path, count: int) -> Path:
    """A COCO data set of JPEGs of 640 x 480 pixels with a dozen boxes each: noise, blurred as photographs are."""
    images = folder / "train"
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    pixels = [
        Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8)).resize((640, 480), Image.Resampling.BICUBIC)
        for _ in range(50)
    ]
    records, boxes = [], []
    for index in range(count):
        name = f"{index:06d}.jpg"
        if index < len(pixels):
            pixels[index].save(images / name, quality=90)
        else:
            (images / name).write_bytes((images / f"{index % len(pixels):06d}.jpg").read_bytes())
        records.append({"id": index, "file_name": name, "width": 640, "height": 480})
        corners, sides = rng.uniform(0, 380, (12, 2)), rng.uniform(30, 100, (12, 2))
        for box in np.hstack([corners, sides]).tolist():
            label = int(rng.integers(CLASSES))
            boxes.append({"id": len(boxes), "image_id": index, "category_id": label, "bbox": box})
    names = [{"id": label, "name": f"class {label}"} for label in range(CLASSES)]
    content = {"images": records, "annotations": boxes, "categories": names}
    (folder / "train.json").write_text(json.dumps(content))
    return folder


def time_train(device: torch.device, rounds: int) -> dict[str, dict[str, float]]:
    """Images/s of training over files, its share of the bare step, and the seconds before the first step."""
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        on_gpu = device.type == "cuda"
        data = made_files(Path(folder) / "data", 5000 if on_gpu else 60)
        for recipe, batch, options in CASES if on_gpu else (("lite320", 4, {}),):
            warm, timed = (WARM, TIMED) if on_gpu else (2, 4)
            watch = Stopwatch(warm)
            options = {**options, "batch_size": batch, "steps": warm + timed, "out": Path(folder) / recipe}
            run = bw.train(
                data,
                recipe,
                device=device.type,
                val_split=None,
                callbacks=[watch],
                console=Console(quiet=True),
                **options,
            )
            trained = batch * timed / watch.seconds
            precision = torch.bfloat16 if run.record["training"]["precision"] == "bf16" else torch.float32
            bare = (
                1000
                * batch
                / milliseconds(step_of(build_detector(run.recipe), batch, device, precision), device, rounds)
            )
            figures[recipe] = {
                "images/s": trained,
                "bare step images/s": bare,
                "share": trained / bare,
                "between steps": watch.between / watch.seconds,
                "first step s": watch.first_step,
            }
            print(
                f"  {recipe} B{batch}: {trained:.1f} images/s, {trained / bare:.0%} of the bare step's {bare:.1f}; "
                f"{watch.between / watch.seconds:.0%} between the steps; {watch.first_step:.1f} s to the first",
                flush=True,
            )
    return figures
