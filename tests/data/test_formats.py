from __future__ import annotations

import io
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image, ImageOps, features

from boxwright.data import decode_image, formats, image_size
from boxwright.data.files import is_image
from boxwright.data.formats import is_plain_jpeg
from boxwright.errors import DataError
from dataset_builders import picture

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


@pytest.mark.skipif(not features.check("avif"), reason="Pillow without AVIF")
@pytest.mark.parametrize("name", ["a.avif", "a.jpg"])
def test_avif_is_read_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    Image.fromarray(picture(2)).save(tmp_path / name, "AVIF", quality=90)
    assert np.abs(decode_image(tmp_path / name).astype(int) - picture(2)).mean() < 8
    assert image_size(tmp_path / name) == (60, 80)


@pytest.mark.parametrize(
    ("start", "hint"),
    [
        (HEIC, "HEIC needs a plugin: pip install pillow-heif"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic", "HEIC needs a plugin: pip install pillow-heif"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "AVIF needs a plugin: pip install pillow-avif-plugin"),
        (b"\xff\x0a" + bytes(30), "JXL needs a plugin: pip install pillow-jxl-plugin"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(20), "JXL needs a plugin: pip install pillow-jxl-plugin"),
    ],
)
@pytest.mark.parametrize("name", ["phone.jpg", "phone.heic"])
def test_a_format_without_its_plugin_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: bytes, hint: str, name: str
) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    for kind in ("AVIF", "HEIF", "JXL"):
        monkeypatch.delitem(Image.OPEN, kind, raising=False)
    (tmp_path / name).write_bytes(start + bytes(200))
    with pytest.raises(DataError, match=f"{name}: {hint}"):
        decode_image(tmp_path / name)


def test_a_plugin_that_is_installed_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A made-up one, that takes the PNG behind the first bytes."""

    def open_it(file: io.BufferedReader, name: str) -> Image.Image:
        return Image.open(io.BytesIO(file.read()[len(HEIC) :]))

    plugin = ModuleType("pillow_heif")
    plugin.register_heif_opener = lambda: Image.register_open("HEIF", open_it, lambda start: start[4:8] == b"ftyp")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    monkeypatch.setattr(formats, "find_spec", lambda name: name == "pillow_heif")
    for registry in (Image.OPEN, Image.ID):
        monkeypatch.setattr(Image, "OPEN" if registry is Image.OPEN else "ID", registry.copy())
    content = io.BytesIO()
    Image.fromarray(picture(2)).save(content, "PNG")
    (tmp_path / "phone.heic").write_bytes(HEIC + content.getvalue())
    (tmp_path / "damaged.heic").write_bytes(HEIC)
    np.testing.assert_array_equal(decode_image(tmp_path / "phone.heic"), picture(2))
    with pytest.raises(DataError, match=r"damaged\.heic: not a readable image"):
        decode_image(tmp_path / "damaged.heic")


@pytest.mark.parametrize("suffix", [".dng", ".CR2", ".nef", ".dcm", ".exr", ".psd", ".tga"])
def test_what_is_never_read_says_what_to_do(tmp_path: Path, suffix: str) -> None:
    """Pillow reads the small preview of a raw file, which is a TIFF to it."""
    path = tmp_path / f"shot{suffix}"
    Image.fromarray(picture(2)).save(path, "TIFF")
    assert is_image(path.name)
    with pytest.raises(DataError, match="a format that isn't read: convert it to JPEG, PNG or TIFF"):
        decode_image(path)


def test_a_jpeg_without_exif_and_xmp_is_plain_and_so_is_an_empty_file(tmp_path: Path) -> None:
    image, exif = Image.fromarray(picture(2)), Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "plain.jpg")
    image.save(tmp_path / "comment.jpg", comment=b"\xff\xe1", icc_profile=bytes(9000))
    image.save(tmp_path / "exif.jpg", exif=exif)
    image.save(tmp_path / "xmp.jpg", xmp=b'tiff:Orientation="6"')
    image.save(tmp_path / "other.jpg", "PNG")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "plain.jpg").read_bytes()[:100])
    (tmp_path / "empty.jpg").write_bytes(b"")
    plain = {path.stem for path in tmp_path.iterdir() if is_plain_jpeg(str(path))}
    assert plain == {"plain", "comment", "empty"}
    with Image.open(tmp_path / "xmp.jpg") as image:  # older versions of Pillow find no orientation there
        assert image_size(tmp_path / "xmp.jpg") == ImageOps.exif_transpose(image).size[::-1]
    assert not is_plain_jpeg(str(tmp_path / "nowhere.jpg"))
