"""What one decoding tells of a file, whatever is in it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boxwright.check.images import look_at
from boxwright.data.images import PLAIN, read_header
from boxwright.errors import DataError
from dataset_builders import exif_with, picture

FRAMES = [Image.fromarray(picture(seed)) for seed in range(3)]
DEEP = Image.fromarray(picture(0)[..., 0].astype(np.uint16) * 16)
KINDS = [
    *((FRAMES[0], kind, {}) for kind in ("JPEG", "BMP", "PPM", "JPEG2000")),
    *((FRAMES[0], kind, {"exif": exif_with(6)}) for kind in ("JPEG", "PNG", "WEBP", "TIFF")),
    *((FRAMES[0], kind, {"save_all": True, "append_images": FRAMES[1:]}) for kind in ("PNG", "WEBP", "GIF", "MPO")),
    *((DEEP, kind, {}) for kind in ("PNG", "TIFF", "PPM")),
]


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """With some bytes changed, cut, or with zeros at its end."""
    place = int(rng.integers(1, len(data)))
    how = rng.integers(4)
    if how == 0:
        return data[:place]
    if how == 1:
        return data[:place] + bytes(len(data) - place)
    changed = bytearray(data)
    for _ in range(rng.integers(1, 10)):
        changed[rng.integers(len(data) if how == 2 else 150)] = rng.integers(256)
    return bytes(changed)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_hostile_bytes_are_a_fault_and_no_exception(tmp_path: Path, kind: int) -> None:
    image, name, options = KINDS[kind]
    file = io.BytesIO()
    image.save(file, name, **options)
    rng = np.random.default_rng(kind)
    for _ in range(25):
        path = tmp_path / "any.img"
        path.write_bytes(damaged(file.getvalue(), rng))
        facts, pixels = look_at(path, PLAIN)
        assert (pixels is None) == (facts.fault is not None)
        try:
            read_header(path)
        except DataError:
            assert facts.fault is not None


def test_a_broken_second_frame_is_no_reason_to_refuse_the_first(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    FRAMES[0].quantize(16).save(path, save_all=True, append_images=[frame.quantize(16) for frame in FRAMES[1:]])
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"\x21\xf9")] + b"\x2c\xff\xff")
    facts, pixels = look_at(path, PLAIN)
    assert facts.fault is None
    assert pixels is not None
    assert facts.size == (60, 80)
