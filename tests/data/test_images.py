from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from boxwright.data import decode_image, image_size, images
from boxwright.data.images import PixelRule, RefusedImageError, read_header
from boxwright.data.inputs import as_rgb
from boxwright.errors import DataError, RecipeError
from dataset_builders import exif_with, picture, write_picture


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
    whole = PixelRule(depth_range="0,65535")
    assert decode_image(tmp_path / "dark.png", whole).max() == 1  # 200 / 257: among others, a dark picture stays dark


@pytest.mark.parametrize(
    ("suffix", "low", "high", "kind"),
    [
        (".png", 0, 4095, np.uint16),
        (".tif", 300, 1300, np.uint16),
        (".tif", -1000, 3000, np.int32),
        (".tif", 290.0, 310.0, np.float32),
        (".jp2", 0, 4095, np.uint16),
        (".pgm", 0, 4095, np.uint16),
        (".pfm", 290.0, 310.0, np.float32),
    ],
)
def test_a_part_of_a_deep_containers_range_keeps_its_levels(
    tmp_path: Path, suffix: str, low: float, high: float, kind: type
) -> None:
    ramp = np.linspace(low, high, 96)[None].repeat(64, 0).astype(kind)
    path = tmp_path / f"ramp{suffix}"
    Image.fromarray(ramp).save(path)
    gray = decode_image(path)[:, :, 0]
    assert len(np.unique(gray)) >= 90
    assert (gray.min(), gray.max()) == (0, 255)
    half = decode_image(path, PixelRule(depth_range=f"{low},{high + (high - low)}"))
    assert abs(int(half.max()) - 128) <= 1
    assert read_header(path) == ((64, 96), 1, True)


def png_of_16_bits(pixels: np.ndarray) -> bytes:
    """A PNG of colors, or of gray and alpha, of 16 bits, which Pillow reads and doesn't write."""
    kind = {2: 4, 3: 2, 4: 6}[pixels.shape[2]]
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, kind, 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in pixels)
    return PNG + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("channels", [3, 4])
def test_colors_of_16_bits_keep_their_levels(tmp_path: Path, channels: int) -> None:
    pixels = np.full((64, 96, channels), 4095, np.uint16)
    pixels[..., :3] = np.linspace(0, 4095, 96)[None, :, None].repeat(64, 0).repeat(3, 2)
    path = tmp_path / "colors.png"
    path.write_bytes(png_of_16_bits(pixels))
    decoded = decode_image(path)
    np.testing.assert_array_equal(decoded, as_rgb(pixels[..., :3]))
    assert len(np.unique(decoded[..., 0])) == 96
    assert read_header(path).deep


def test_gray_and_alpha_of_16_bits_are_read(tmp_path: Path) -> None:
    pixels = np.full((4, 5, 2), 65535, np.uint16)
    (tmp_path / "gray_alpha.png").write_bytes(png_of_16_bits(pixels))
    assert decode_image(tmp_path / "gray_alpha.png").tolist() == np.full((4, 5, 3), 255).tolist()


@pytest.mark.parametrize("kind", [np.uint16, np.int16])
def test_an_array_is_read_as_the_file_of_it(tmp_path: Path, kind: type) -> None:
    pixels = np.random.default_rng(0).integers(0, 4096, (700, 500)).astype(kind)
    Image.fromarray(pixels.astype(np.uint16)).save(tmp_path / "deep.png")
    for rule in (PixelRule(), PixelRule(depth_range="100,4000")):
        expected = decode_image(tmp_path / "deep.png", rule)
        np.testing.assert_array_equal(as_rgb(pixels, rule), expected)
        np.testing.assert_array_equal(as_rgb(pixels[..., None], rule), expected)
        np.testing.assert_array_equal(as_rgb(Image.fromarray(pixels.astype(np.uint16)), rule), expected)


def test_a_rule_refuses_what_it_does_not_know() -> None:
    for options in ({"exif": "turn"}, {"depth_range": "auto"}, {"depth_range": "5"}, {"depth_range": "9,5"}):
        with pytest.raises(RecipeError, match="Expected"):
            PixelRule(**options)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("turned", [3, 5, 6, 7, 8])
def test_exif_can_be_ignored(tmp_path: Path, suffix: str, turned: int) -> None:
    path = tmp_path / f"turned{suffix}"
    exif = Image.Exif()
    exif[0x0112] = turned
    Image.fromarray(picture(3)).save(path, exif=exif, quality=95)
    ignored = decode_image(path, PixelRule("ignore"))
    assert ignored.shape == (60, 80, 3)
    assert np.abs(ignored.astype(int) - picture(3)).mean() < 8
    assert image_size(path, upright=False) == (60, 80)
    assert image_size(path) == ((80, 60) if turned >= 5 else (60, 80))


@pytest.mark.parametrize("written", [0, 9, 65537, "6"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_an_orientation_that_is_none_turns_nothing(tmp_path: Path, written: int | str, suffix: str) -> None:
    path = tmp_path / f"odd{suffix}"
    Image.fromarray(picture(3)).save(path, exif=exif_with(written))
    assert decode_image(path).shape == (60, 80, 3)
    assert image_size(path) == (60, 80)


def test_the_header_of_a_png_is_read_without_its_pixels(tmp_path: Path) -> None:
    """EXIF may stand behind the pixels of a PNG, too."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded("PNG")
    end = data.index(b"IEND") - 4
    late = chunk(b"eXIf", exif.tobytes()[6:])
    (tmp_path / "late.png").write_bytes(data[:end] + late + data[end:])
    assert image_size(tmp_path / "late.png") == decode_image(tmp_path / "late.png").shape[:2] == (80, 60)
    start = data.index(b"IDAT") + 4
    (tmp_path / "broken.png").write_bytes(data[:start] + bytes(end - start) + data[end:])
    assert image_size(tmp_path / "broken.png") == (60, 80)


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(0)).save(file, kind)
    return file.getvalue()


def test_errors_name_the_file(tmp_path: Path) -> None:
    whole = write_picture(tmp_path / "whole.jpg", 1).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    for name in ("cut.jpg", "text.jpg", "empty.png", "folder.png", "absent.png"):
        with pytest.raises(DataError, match=name):
            decode_image(tmp_path / name)


PNG = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int) -> bytes:
    """A PNG header that claims that many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return PNG + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


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


@pytest.mark.filterwarnings("error")
def test_pixels_are_limited_by_the_option_else_by_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_picture(tmp_path / "a.png", 1, 60, 170)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60 * 80)  # above twice as many, Pillow refuses by itself
    with pytest.raises(RefusedImageError, match="refused"):
        decode_image(path)
    for limit in (60 * 170, 10**9):
        assert decode_image(path, PixelRule(max_pixels=limit)).shape == (60, 170, 3)
        assert image_size(path, max_pixels=limit) == (60, 170)
    with pytest.raises(RefusedImageError, match=r"refused, 170x60 pixels are more than 10199 \(max_pixels\)"):
        decode_image(path, PixelRule(max_pixels=60 * 170 - 1))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert decode_image(path).shape == (60, 170, 3)
    for wrong in (0, -1, "many"):
        with pytest.raises(RecipeError, match="Expected max_pixels"):
            PixelRule(max_pixels=wrong)  # type: ignore[arg-type]


def test_pillows_warning_never_shows(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", 1, 60, 120)
    lines = (
        "from PIL import Image",
        "Image.MAX_IMAGE_PIXELS = 4800",
        "from boxwright.data import decode_image",
        "try: decode_image('a.png')",
        "except ValueError as error: print(error)",
    )
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "refused, 120x60 pixels are more than 4800" in done.stdout
    assert done.stderr == ""


def test_large_images_are_decoded_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_LARGE", 60 * 80 - 1)
    paths = [write_picture(tmp_path / f"{i}.png", i) for i in range(6)]
    running: list[int] = []
    most = []

    def convert(image: Image.Image) -> NDArray[np.uint8]:
        running.append(1)
        most.append(len(running))
        time.sleep(0.01)
        running.pop()
        return np.array(image.convert("RGB"))

    monkeypatch.setattr(images, "as_eight_bits", convert)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(decode_image, paths))
    assert most == [1] * 6


def test_what_is_no_file_is_no_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", "/dev/zero"):
        with pytest.raises(DataError, match="is a pipe, a device or a socket, not a file"):
            decode_image(path)
