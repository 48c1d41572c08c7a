"""Image files to arrays: always (H, W, 3) uint8 RGB, upright unless asked otherwise."""

from __future__ import annotations

import os
import stat
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from boxwright._util.reading import NO_FILE
from boxwright.data import depth
from boxwright.data.decoded import Decoded, Reduction
from boxwright.data.endings import missing_end
from boxwright.data.formats import may_be_turned, open_with_plugins
from boxwright.data.upright import Exif, orientation, turn, turn_back, turn_boxes, written_orientation
from boxwright.errors import DataError, RecipeError
from boxwright.values import coerce, parse_range

_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # such an image is refused, or was asked for
_LARGE = 25_000_000
"""Pixels from which on images are decoded one at a time in a process, for their memory's sake."""
_ONE_AT_A_TIME = threading.Lock()


class RefusedImageError(DataError):
    """Raised for an image that is too large to be decoded safely."""


@dataclass(frozen=True)
class PixelRule:
    """Rule for decoding pixels for the network: a recipe's keys of these names. Raises RecipeError for other values."""

    exif: Exif | None = None
    """None: as "apply", but boxes were drawn on the pixels as stored where the annotated sizes say so."""
    depth_range: str = "data"
    """Range that becomes 0 to 255, for pixels of more than 8 bits: "image", each image's own; "LOW,HIGH"; "data", the
    data set's, which reading it settles. Where it isn't settled: each image's own."""
    max_pixels: int | None = None
    """An image of more is refused; None: of more than Pillow's limit, which is 89,478,485."""

    def __post_init__(self) -> None:
        coerce("exif", self.exif, Exif | None)
        parse_range("depth_range", self.depth_range)
        limit = coerce("max_pixels", self.max_pixels, int | None)
        if limit is not None and limit < 1:
            raise RecipeError(f"Expected max_pixels of at least 1 but got {self.max_pixels}")

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe's keys, which are reader options too."""
        return asdict(self)

    @property
    def upright(self) -> bool:
        """Whether pixels are turned as EXIF says."""
        return self.exif != "ignore"

    @property
    def limits(self) -> depth.Range | None:
        """LOW and HIGH; None for each image's own range."""
        return parse_range("depth_range", self.depth_range)


PLAIN = PixelRule()


class Header(NamedTuple):
    """The facts in the header of an image file."""

    size: tuple[int, int]
    """(H, W) of the pixels as stored."""
    turned: int
    """EXIF orientation, 1 to 8."""
    deep: bool
    """Whether pixels have more than 8 bits."""


class Picture(NamedTuple):
    """A decoded file."""

    image: Decoded
    mode: str
    """Pillow's name of the pixel format in the file; of more than 8 bits for colors: RGB;16."""
    written: Any
    """EXIF orientation as it is written, 1 for none."""
    extent: depth.Range | None
    """Lowest and highest value of pixels of more than 8 bits."""


def open_image(path: str | Path, max_pixels: int | None = None) -> ImageFile:
    """Open an image and read only its header; the caller closes it. ``max_pixels`` is that of a ``PixelRule``.

    Raises:
        DataError: Naming the file, if it is no image; RefusedImageError if it has too many pixels.
    """
    limit = Image.MAX_IMAGE_PIXELS if max_pixels is None else max_pixels
    if limit is not None and Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(limit, Image.MAX_IMAGE_PIXELS)  # beyond twice that, Pillow itself refuses
    try:
        _check_regular(path)
        image = open_with_plugins(path)
    except _BOMBS as error:
        raise RefusedImageError(f"{path}: refused, {error}") from None
    except FileNotFoundError:
        raise DataError(f"{path}: no such image") from None
    except DataError:
        raise
    except Exception as error:  # a decoder meets hostile bytes: whatever it raises is about this file
        raise DataError(f"{path}: not a readable image ({_reason(error)})") from None
    if limit is not None and image.width * image.height > limit:
        image.close()
        size = f"{image.width}x{image.height}"
        raise RefusedImageError(f"{path}: refused, {size} pixels are more than {limit} (max_pixels)")
    return image


def _check_regular(path: str | Path) -> None:
    """Raise DataError for files whose reading might wait forever or never end."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise DataError(f"{path}: {NO_FILE}")


def read_header(path: str | Path, max_pixels: int | None = None) -> Header:
    """Read size, orientation and depth without decoding.

    Raises:
        DataError: Naming the file, if it is no image.
    """
    with open_image(path, max_pixels) as image:
        turned = orientation(written_orientation(image)) if may_be_turned(image) else 1
        height, width = image.height, image.width
        if image.format == "TIFF" and turned >= 5:  # Pillow has already swapped them
            height, width = width, height
        return Header((height, width), turned, is_deep(image))


def image_size(path: str | Path, *, upright: bool = True, max_pixels: int | None = None) -> tuple[int, int]:
    """Read (H, W) of the upright or the stored image from the file's header.

    Raises:
        DataError: Naming the file, if it is no image.
    """
    (height, width), turned, _ = read_header(path, max_pixels)
    return (width, height) if upright and turned >= 5 else (height, width)


def is_deep(image: ImageFile) -> bool:
    """Tell whether an image, opened but not yet decoded, has more than 8 bits per value."""
    return image.mode[0] in "IF" or bool(_halves(image))


def decode_image(path: str | Path, rule: PixelRule = PLAIN) -> NDArray[np.uint8]:
    """Decode an image file in full.

    EXIF orientation is applied, unless ``rule`` says otherwise; grayscale, palette, CMYK and alpha become RGB (alpha is
    dropped); more than 8 bits are scaled to 8 by the range of ``rule``, else by the image's own. From an animation or a
    file of several pages the first is taken.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        DataError: Naming the file, if it is missing, no image, truncated, or refused as a decompression bomb.
    """
    return decode_reduced(path, rule, None).pixels


def decode_reduced(path: str | Path, rule: PixelRule, reduction: Reduction | None) -> Decoded:
    """Decode an image file as ``decode_image`` does, but reduced by ``reduction``; None: in full.

    JPEGs are decoded at that scale, which takes a fraction of the time; in other formats whole pixels are averaged.

    Raises:
        DataError: As ``decode_image`` does.
    """
    with open_image(path, rule.max_pixels) as image:
        return to_rgb(image, path, rule, reduction).image


def to_rgb(image: ImageFile, path: str | Path, rule: PixelRule = PLAIN, reduction: Reduction | None = None) -> Picture:
    """Decode an opened file as ``decode_reduced`` does.

    Raises:
        DataError: As ``decode_reduced`` does.
    """
    with _naming(path), _turn_for(image):
        if image.fp is not None and (lost := missing_end(image.fp, image.format)):
            raise OSError(f"its last {lost} bytes are zeros: it was not copied to its end")
        by_pillow = image.format == "TIFF"  # which turns the pixels, and then forgets the tag
        written = written_orientation(image) if by_pillow else 1
        draft = None if reduction is None else _draft(image, rule, reduction)
        deep, mode = _deep_pixels(image, path, rule.max_pixels), image.mode
        if deep is None:
            pixels = as_eight_bits(image)
        else:
            pixels = depth.to_eight_bits(deep, rule.limits)
            mode = f"{mode};16" if deep.ndim == 3 else mode
        written = written if by_pillow else written_orientation(image)
        turned = orientation(written)
        if turned != 1 and by_pillow != rule.upright:
            pixels = turn(pixels, turned) if rule.upright else turn_back(pixels, turned)
        made = _reduced(pixels, reduction) if draft is None else _drafted(pixels, draft)
        return Picture(made, mode, written, None if deep is None else depth.extent(deep))


class _Draft(NamedTuple):
    """A JPEG that is decoded at a reduced scale."""

    size: tuple[int, int]
    """(H, W) as stored, in full."""
    turned: int
    factor: int


def _draft(image: ImageFile, rule: PixelRule, reduction: Reduction) -> _Draft | None:
    """Let an opened JPEG be decoded at a reduced scale; None if it should not be, and for other formats."""
    if not isinstance(image, JpegImageFile):
        return None
    size = height, width = image.height, image.width
    turned = orientation(written_orientation(image)) if rule.upright else 1
    factor = reduction(width, height) if turned >= 5 else reduction(height, width)
    if factor == 1 or image.draft(None, (width // factor, height // factor)) is None:
        return None
    return _Draft(size, turned, factor)


def _drafted(pixels: NDArray[np.uint8], draft: _Draft) -> Decoded:
    """Return the upright pixels of a draft, whose last stored row and column may reach beyond the image."""
    (height, width), turned, factor = draft
    rows, columns = pixels.shape[:2] if turned < 5 else pixels.shape[1::-1]
    reached = np.array([[rows * factor, columns * factor]])
    box = turn_boxes(np.array([[0.0, 0.0, width, height]]), np.array([turned]), reached)[0]
    left, above, right, below = box.astype(int).tolist()
    return Decoded(pixels, (below - above, right - left), factor, (above, left))


def _reduced(pixels: NDArray[np.uint8], reduction: Reduction | None) -> Decoded:
    """Average pixels (H, W, 3) as far as the reduction asks."""
    whole = Decoded.whole(pixels)
    factor = 1 if reduction is None else reduction(*whole.size)
    if factor == 1:
        return whole
    return Decoded(np.asarray(Image.fromarray(pixels).reduce(factor)), whole.size, factor)


def from_pil(image: Image.Image, rule: PixelRule) -> NDArray[np.uint8]:
    """Convert an image in memory to (H, W, 3) RGB; its orientation is unchanged."""
    if image.mode[0] in "IF":
        return depth.to_eight_bits(np.asarray(image), rule.limits)
    return as_eight_bits(image)


def as_eight_bits(image: Image.Image) -> NDArray[np.uint8]:
    """Convert an image of 8 bits or fewer to (H, W, 3) RGB; its orientation is unchanged."""
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")  # a palette's transparent entries go with it
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))  # which copies what is RGB already


def deep_values(path: str | Path, max_pixels: int | None = None) -> NDArray[Any]:
    """Return a file's values of more than 8 bits, (H, W) or (H, W, 3), as stored.

    Raises:
        DataError: As ``decode_image`` does, and if the file has 8 bits.
    """
    with open_image(path, max_pixels) as image, _naming(path), _turn_for(image):
        values = _deep_pixels(image, path, max_pixels)
        if values is None:
            raise DataError(f"{path}: has 8 bits")
        return values


_LITTLE = sys.byteorder == "little"
_OTHER_HALF = {"16B": "16L", "16L": "16B", "16N": "16B" if _LITTLE else "16L"}


def _deep_pixels(image: ImageFile, path: str | Path, max_pixels: int | None) -> NDArray[Any] | None:
    """Return (H, W) of a decoded gray image of more than 8 bits, (H, W, 3) of a color one; None for 8 bits."""
    halves = _halves(image)
    image.load()
    if image.mode[0] in "IF":
        return np.asarray(image)
    if not halves:
        return None
    high = as_eight_bits(image).astype(np.uint16)
    with open_image(path, max_pixels) as again:
        again.tile = halves  # Pillow keeps the upper byte of each value: the lower is read as if it were that
        return high << 8 | as_eight_bits(again)


def _halves(image: ImageFile) -> list[Any]:
    """Return the tiles of 16-bit colors with their bytes swapped; empty for all others."""
    tiles = []
    for tile in image.tile:
        first, *others = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        kind, _, order = str(first).partition(";")
        if kind not in ("RGB", "RGBA", "RGBX") or order not in _OTHER_HALF:
            return []
        swapped = f"{kind};{_OTHER_HALF[order]}"
        tiles.append(tile._replace(args=(swapped, *others) if isinstance(tile.args, tuple) else swapped))
    return tiles


def _turn_for(image: Image.Image) -> AbstractContextManager[Any]:
    return _ONE_AT_A_TIME if image.width * image.height > _LARGE else nullcontext()


@contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{path}: not a readable image ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return "cannot identify the format" if text.startswith("cannot identify image file") else text
