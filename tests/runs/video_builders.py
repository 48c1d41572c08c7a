"""Small videos, made with PyAV itself, whole and damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

av: Any = pytest.importorskip("av")

RATE = 10
WIDTH, HEIGHT = 96, 64
BAR = 8
UNTURNED = bytes.fromhex("00010000 00000000 00000000 00000000 00010000 00000000 00000000 00000000 40000000")
TURNED = bytes.fromhex("00000000 00010000 00000000 ffff0000 00000000 00000000 00000000 00000000 40000000")
"""Display matrices of MP4: as stored, and 90 degrees clockwise."""


def frame_of(number: int) -> NDArray[np.uint8]:
    """(64, 96, 3): a white bar that moves to the right by two pixels a frame, and a top half of blotches."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    blotches = np.random.default_rng(number).integers(0, 200, (HEIGHT // 8, WIDTH // 4, 3), np.uint8)
    pixels[: HEIGHT // 2] = blotches.repeat(4, axis=0).repeat(4, axis=1)
    pixels[:, 2 * number : 2 * number + BAR] = 255
    return pixels


def bar_of(pixels: NDArray[np.uint8]) -> int:
    """The number of the frame whose bar is where that of these pixels is."""
    columns = np.flatnonzero(pixels[HEIGHT // 2 :, :, 1].mean(0) > 128)
    return round((columns.mean() - (BAR - 1) / 2) / 2)


def write_clip(path: Path, frames: int = 30, codec: str = "libx264", faststart: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": "+faststart"} if faststart else {}) as container:
        stream = container.add_stream(codec, rate=RATE, options={"g": "5"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame_of(number), format="rgb24")))
        container.mux(stream.encode())
    return path


def cut(path: Path, share: float) -> Path:
    """The same file without its end."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def turn_clockwise(path: Path) -> Path:
    """The same MP4 file, shown turned."""
    head, movie, rest = path.read_bytes().split(UNTURNED)
    path.write_bytes(head + UNTURNED + movie + TURNED + rest)
    return path
