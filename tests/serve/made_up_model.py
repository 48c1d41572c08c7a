"""A predictor that finds, in each image, one box of class ``cat`` as large as the image, however it was sent."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from boxwright.data.inputs import Input, InputRule
from boxwright.data.transforms import InputSize
from boxwright.runtime import Detections


class MadeUp:
    """Waits for ``go`` before each answer, and keeps the sizes of its batches."""

    classes = ("cat", "dög")

    def __init__(self) -> None:
        self.metadata = {"classes": list(self.classes), "recipe": {"lr": 1}}
        self.facts = SimpleNamespace(input=InputRule(InputSize(32, "squash", 32)))
        self.go = threading.Event()
        self.go.set()
        self.asked = threading.Event()
        self.batches: list[int] = []
        self.fails = False

    def predict_inputs(self, inputs: Sequence[Input], score: float | None = None) -> list[Detections]:
        self.batches.append(len(inputs))
        self.asked.set()
        assert self.go.wait(30)
        if self.fails:
            raise RuntimeError("the model broke")
        least = 0.25 if score is None else score
        return [_whole(each.size) if least < 0.5 else _nothing() for each in inputs]


def _whole(size: tuple[int, int]) -> Detections:
    height, width = size
    return Detections(np.array([[0, 0, width, height]], np.float32), np.float32([0.5]), np.int64([0]))


def _nothing() -> Detections:
    return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


def picture(width: int = 40, height: int = 30, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (90, 120, 30)).save(buffer, kind, **options)
    return buffer.getvalue()
