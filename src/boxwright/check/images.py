"""Everything that decoding an image file once tells about it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boxwright.data.annotations import Annotations, Fault
from boxwright.data.decoded import Decoded, Reduction
from boxwright.data.depth import Range
from boxwright.data.endings import stops_early
from boxwright.data.images import Header, PixelRule, RefusedImageError, open_image, to_rgb
from boxwright.data.near import THUMBNAIL
from boxwright.data.pictures import Headers, Settled
from boxwright.data.upright import orientation
from boxwright.errors import DataError


@dataclass(frozen=True)
class ImageFacts:
    """Facts about one image; if ``fault`` is set it cannot be used, and the rest is not set."""

    size: tuple[int, int] = (0, 0)
    """(H, W) of the decoded image."""
    stored: tuple[int, int] = (0, 0)
    """(H, W) of the pixels in the file."""
    mode: str = "RGB"
    """Pillow's name of the pixel format in the file."""
    written: Any = 1
    """EXIF orientation as written."""
    extent: Range | None = None
    """Lowest and highest value of pixels of more than 8 bits."""
    animated: bool = False
    """Whether the file holds more than one picture."""
    early: bool = False
    """Whether the picture's data ends too early."""
    digest: bytes = b""
    thumbnail: NDArray[np.uint8] | None = None
    """(THUMBNAIL, THUMBNAIL) gray."""
    fault: tuple[str, str] | None = None
    """Kind and message."""


def look_at(path: Path, rule: PixelRule, reduction: Reduction | None = None) -> tuple[ImageFacts, Decoded | None]:
    """Decode one image at a size that ``reduction`` sets; returns the facts, and its pixels unless it has a fault."""
    try:
        with open_image(path, rule.max_pixels) as image:
            picture = to_rgb(image, path, rule, reduction)
            data = path.read_bytes()
            animated = _is_animated(image)
            early = stops_early(data, image, picture.image.pixels)
    except RefusedImageError as error:
        return ImageFacts(fault=("refused", _without_path(error, path))), None
    except DataError as error:
        return ImageFacts(fault=("unreadable-image", _without_path(error, path))), None
    height, width = picture.image.size
    small = Image.fromarray(picture.image.pixels).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX).convert("L")
    facts = ImageFacts(
        size=(height, width),
        stored=(width, height) if rule.upright and orientation(picture.written) >= 5 else (height, width),
        mode=picture.mode,
        written=picture.written,
        extent=picture.extent,
        animated=animated,
        early=early,
        digest=blake2b(data, digest_size=16).digest(),
        thumbnail=np.asarray(small),
    )
    return facts, picture.image


def _is_animated(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # damage after the first picture is no reason to refuse it
        return False


def look_at_all(
    table: Annotations,
    rule: PixelRule,
    known: Mapping[str, ImageFacts],
    progress: Callable[[int, int], None] | None = None,
) -> list[ImageFacts | None]:
    """Decode every image that is not ``known`` by its path, exactly once, on all cores; None for missing ones.

    ``progress`` is called with (images done, all images).
    """
    facts: list[ImageFacts | None] = [None] * len(table.paths)
    rows = np.flatnonzero(table.there).tolist()

    def look(row: int) -> ImageFacts:
        """Look at the image of a row, or take what is known of it."""
        path = table.paths[row]
        return known[path] if path in known else look_at(table.root / path, rule)[0]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, (row, fact) in enumerate(zip(rows, pool.map(look, rows), strict=True)):
            facts[row] = fact
            if progress:
                progress(done + 1, len(rows))
    return facts


def headers_of(facts: Sequence[ImageFacts | None]) -> Headers:
    """Select what reading takes from the files' headers."""
    headers = Headers.unread(len(facts))
    for row, fact in enumerate(facts):
        if fact is not None and fact.fault is None:
            headers.put(row, Header(fact.stored, orientation(fact.written), fact.extent is not None))
    return headers


def image_faults(
    table: Annotations, sizes: NDArray[np.int32], settled: Settled, facts: Sequence[ImageFacts | None]
) -> list[Fault]:
    """Find what is wrong with single images; ``sizes`` (n, 2) as annotated, 0 where not annotated."""
    faults = []
    for row, fact in enumerate(facts):
        path = table.paths[row]
        if fact is None:
            faults.append(Fault("missing-image", table.files[row], None, f"no image {table.names[row]}"))
        elif fact.fault:
            faults.append(Fault(fact.fault[0], path, None, fact.fault[1]))
        else:
            faults += _oddities(fact, path)
            faults += _depth_said(fact, path, settled.rule)
            faults += _turning_said(fact, path, settled, bool(settled.turned[row]))
            faults += _size_mismatch(table, row, fact, tuple(sizes[row].tolist()), bool(settled.turned[row]))
    return faults


def _oddities(fact: ImageFacts, path: str) -> list[Fault]:
    faults = []
    if fact.mode != "RGB" and fact.extent is None:
        faults.append(Fault("not-rgb", path, None, f"pixels are {fact.mode}; read as RGB"))
    if fact.animated:
        faults.append(Fault("first-frame", path, None, "holds several pictures; the first is read"))
    if fact.early:
        text = "its data ends early, so its lower part is plain gray: copy the file again"
        faults.append(Fault("incomplete-image", path, None, text))
    return faults


def _depth_said(fact: ImageFacts, path: str, rule: PixelRule) -> list[Fault]:
    if fact.extent is None:
        return []
    low, high = fact.extent
    whose = "by its own range" if rule.limits is None else "from {:g} to {:g}".format(*rule.limits)
    text = f"pixels are {fact.mode}, {low:g} to {high:g}; made 8 bits {whose} (depth_range={rule.depth_range})"
    return [Fault("deep-image", path, None, text)]


def _turning_said(fact: ImageFacts, path: str, settled: Settled, boxes: bool) -> list[Fault]:
    turned = orientation(fact.written)
    if turned == 1:
        if fact.written in (0, 1):
            return []
        text = f"EXIF orientation {fact.written!r} is none of 1 to 8; pixels are read as stored"
        return [Fault("exif-unknown", path, None, text)]
    if not settled.rule.upright:
        done = "it is ignored (exif=ignore)"
    elif boxes:
        done = "it is applied, also to the boxes, taken as drawn on the stored pixels (if they were not: exif=apply)"
    else:
        done = "it is applied; the boxes are taken as drawn upright (if they were not: exif=boxes)"
    return [Fault("exif-rotated", path, None, f"EXIF orientation {turned}; {done}")]


def _size_mismatch(
    table: Annotations, row: int, fact: ImageFacts, annotated: tuple[int, ...], boxes_turned: bool
) -> list[Fault]:
    height, width = annotated
    if not (height > 0 and width > 0) or annotated == (fact.stored if boxes_turned else fact.size):
        return []
    text = f"{table.names[row]}: annotated as {width}x{height}, but the image is {fact.size[1]}x{fact.size[0]}"
    if annotated == fact.stored:
        text += ", once EXIF has turned it"
    return [Fault("size-mismatch", table.files[row], None, text)]


def _without_path(error: DataError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")
