from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from boxwright.data import decode_image, image_size
from boxwright.errors import DataError
from dataset_builders import picture, write_picture


def corners(image: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(int(v) for v in image[y, x]) for y, x in ((0, 0), (0, -1), (-1, 0), (-1, -1))]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_exif_orientation_is_applied_to_pixels_and_size(tmp_path: Path, orientation: int, suffix: str) -> None:
    """The upright image has red, green, blue, white in its corners, whichever way the camera stored it."""
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :24], upright[:16, 24:], upright[16:, :24], upright[16:, 24:] = (
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
        255,
    )
    # EXIF 2.32, tag 0x0112: where the 0th row and the 0th column of the stored pixels are, to be seen upright.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    path = tmp_path / f"turned{suffix}"
    image = Image.fromarray(np.ascontiguousarray(stored))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif, **({"quality": 100, "subsampling": 0} if suffix == ".jpg" else {}))
    decoded = decode_image(path)
    assert decoded.shape == (32, 48, 3)
    assert image_size(path) == (32, 48)
    expected = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]
    assert np.abs(np.array(corners(decoded)) - expected).max() <= 4


def test_every_kind_of_pixel_becomes_rgb(tmp_path: Path) -> None:
    rgb = Image.fromarray(picture(3))
    alpha = Image.new("L", rgb.size, 7)
    palette = rgb.quantize(16)
    transparent = palette.copy()
    transparent.info["transparency"] = bytes([0, 255, 128])
    kinds = {
        "gray.png": rgb.convert("L"),
        "binary.png": rgb.convert("1"),
        "palette.png": palette,
        "transparent.png": transparent,
        "cmyk.jpg": rgb.convert("CMYK"),
        "alpha.png": Image.merge("RGBA", (*rgb.split(), alpha)),
        "gray_alpha.png": Image.merge("LA", (rgb.convert("L"), alpha)),
    }
    for name, image in kinds.items():
        image.save(tmp_path / name)
        decoded = decode_image(tmp_path / name)
        assert decoded.shape == (60, 80, 3), name
        assert decoded.dtype == np.uint8, name
    np.testing.assert_array_equal(decode_image(tmp_path / "alpha.png"), picture(3))
    np.testing.assert_array_equal(decode_image(tmp_path / "palette.png"), np.asarray(palette.convert("RGB")))
    np.testing.assert_array_equal(decode_image(tmp_path / "transparent.png"), np.asarray(palette.convert("RGB")))
    gray = decode_image(tmp_path / "gray.png")
    assert (gray == gray[..., :1]).all()


def test_deep_pixels_are_scaled_and_not_saturated(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16)[None].repeat(4, 0)
    for suffix in (".png", ".tif"):
        Image.fromarray(ramp).save(tmp_path / f"deep{suffix}")
        np.testing.assert_array_equal(decode_image(tmp_path / f"deep{suffix}")[0, :, 0], np.arange(256))
    Image.fromarray((ramp / 65535).astype(np.float32)).save(tmp_path / "float.tif")
    np.testing.assert_array_equal(decode_image(tmp_path / "float.tif")[0, :, 1], np.arange(256))
    dark = Image.fromarray(np.full((4, 4), 200, np.uint16))
    dark.save(tmp_path / "dark.png")
    assert decode_image(tmp_path / "dark.png").max() == 1  # 200 / 257: a dark picture stays dark


def test_errors_name_the_file(tmp_path: Path) -> None:
    whole = write_picture(tmp_path / "whole.jpg", 1).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    for name in ("cut.jpg", "text.jpg", "empty.png", "folder.png", "absent.png"):
        with pytest.raises(DataError, match=name):
            decode_image(tmp_path / name)


def bomb(width: int, height: int) -> bytes:
    """A PNG header that claims that many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_000, 30_000])  # Pillow only warns of the first
def test_decompression_bomb_is_refused_with_its_name(tmp_path: Path, side: int) -> None:
    (tmp_path / "bomb.png").write_bytes(bomb(side, side))
    with pytest.raises(DataError, match=r"bomb\.png: refused"):
        decode_image(tmp_path / "bomb.png")


def test_formats_that_run_programs_are_not_opened(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture(0)).save(buffer, "EPS")
    (tmp_path / "script.jpg").write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match="cannot identify"):
        decode_image(tmp_path / "script.jpg")
