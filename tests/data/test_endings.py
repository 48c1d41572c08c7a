"""Files that lost their end, of which decoders say nothing."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from boxwright.data import decode_image
from boxwright.data.endings import stops_early
from boxwright.errors import DataError
from dataset_builders import picture

SIZE = (240, 320)


def encoded(kind: str, image: Image.Image | None = None, **options: object) -> bytes:
    file = io.BytesIO()
    (image or Image.fromarray(picture(1, *SIZE))).save(file, kind, **options)
    return file.getvalue()


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8))


def zeros_from(data: bytes, share: float) -> bytes:
    place = int(len(data) * share)
    return data[:place] + bytes(len(data) - place)


def with_thumbnail() -> bytes:
    """A JPEG with a whole one, its thumbnail, in its EXIF."""
    data = encoded("JPEG", noise(), quality=95)
    small = encoded("JPEG", noise().resize((16, 16)))
    return data[:2] + b"\xff\xe1" + (len(small) + 8).to_bytes(2) + b"Exif\0\0" + small + data[2:]


FILES = [
    pytest.param(encoded("JPEG", noise(), quality=95), id="jpeg"),
    pytest.param(encoded("JPEG", noise(), quality=95, progressive=True), id="progressive"),
    pytest.param(encoded("JPEG", quality=95), id="smooth jpeg"),
    pytest.param(with_thumbnail(), id="thumbnail"),
    pytest.param(encoded("JPEG", noise().convert("L"), quality=95), id="gray"),
    pytest.param(encoded("WEBP", noise(), quality=95), id="webp"),
    pytest.param(encoded("WEBP", noise(), lossless=True), id="lossless"),
    pytest.param(encoded("PNG", noise()), id="png"),
    pytest.param(encoded("PNG"), id="smooth png"),
    pytest.param(encoded("GIF"), id="gif"),
]
if features.check("avif"):
    FILES.append(pytest.param(encoded("AVIF", noise(), quality=90), id="avif"))


@pytest.mark.parametrize("data", FILES)
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_zeros_instead_of_the_end_are_an_error(tmp_path: Path, data: bytes, share: float) -> None:
    path = tmp_path / "half.jpg"
    path.write_bytes(zeros_from(data, share))
    with pytest.raises(DataError, match=r"half\.jpg: not a readable image"):
        decode_image(path)


@pytest.mark.parametrize("data", FILES)
@pytest.mark.parametrize("tail", [b"", bytes(5000), b"\r\n", b"SEFT" + bytes(40)], ids=["", "zeros", "line", "trailer"])
def test_what_follows_a_whole_picture_does_no_harm(tmp_path: Path, data: bytes, tail: bytes) -> None:
    path = tmp_path / "whole.jpg"
    path.write_bytes(data + tail)
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(decode_image(path), np.asarray(image.convert("RGB")))


def test_the_message_counts_the_zeros(tmp_path: Path) -> None:
    data = encoded("JPEG", noise(), quality=95)
    (tmp_path / "half.jpg").write_bytes(data[:20_000].rstrip(b"\0") + bytes(9_000))
    with pytest.raises(DataError, match=r"its last 9000 bytes are zeros: it was not copied to its end"):
        decode_image(tmp_path / "half.jpg")


def early(data: bytes) -> bool:
    with Image.open(io.BytesIO(data)) as image:
        return stops_early(data, image, np.asarray(image.convert("RGB")))


def test_a_scan_that_ends_before_its_picture_is_seen() -> None:
    for options in ({}, {"quality": 95}, {"optimize": True}, {"subsampling": 0}, {"restart_marker_blocks": 4}):
        data = encoded("JPEG", noise(), **options)
        assert not early(data)
        assert not early(data + bytes(100))
        assert early(data[: len(data) // 2] + b"\xff\xd9")
        assert early(data[: len(data) * 9 // 10] + b"\xff\xd9")


def test_a_gray_margin_is_no_lost_end() -> None:
    page = Image.new("RGB", (320, 320), (128, 128, 128))
    page.paste(noise().crop((0, 0, 320, 160)), (0, 0))
    for options in ({}, {"optimize": True}, {"progressive": True}):
        assert not early(encoded("JPEG", page, **options))
