"""Everything about an image file that one decoding tells."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boxwright.data.annotations import Annotations, Fault
from boxwright.data.images import RefusedImageError, open_image, orientation, to_rgb
from boxwright.errors import DataError

THUMBNAIL = 32
"""Side of the gray thumbnails that images are compared by."""


@dataclass(frozen=True)
class ImageFacts:
    """One image; ``fault`` is set where it can't be used, and then the rest is not."""

    size: tuple[int, int] = (0, 0)
    """(H, W) of the upright image."""
    mode: str = "RGB"
    """Pillow's name of the pixel format in the file."""
    orientation: int = 1
    digest: bytes = b""
    thumbnail: NDArray[np.uint8] | None = None
    """(THUMBNAIL, THUMBNAIL) gray."""
    fault: tuple[str, str] | None = None
    """Kind and message."""


def look_at(path: Path) -> ImageFacts:
    """Decodes one image in full."""
    try:
        with open_image(path) as image:
            mode, turned = image.mode, orientation(image)
            pixels = to_rgb(image, path)
    except RefusedImageError as error:
        return ImageFacts(fault=("refused", _without_path(error, path)))
    except DataError as error:
        return ImageFacts(fault=("unreadable-image", _without_path(error, path)))
    small = Image.fromarray(pixels).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX).convert("L")
    digest = blake2b(path.read_bytes(), digest_size=16).digest()
    return ImageFacts(pixels.shape[:2], mode, turned, digest, np.asarray(small))


def look_at_all(
    root: Path, paths: Sequence[str], there: NDArray[np.bool_], progress: Callable[[int, int], None] | None = None
) -> list[ImageFacts | None]:
    """Decodes each image exactly once, on all cores; None for those that are not there.

    ``progress`` is called with (images done, images in all).
    """
    facts: list[ImageFacts | None] = [None] * len(paths)
    rows = np.flatnonzero(there).tolist()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, (row, fact) in enumerate(
            zip(rows, pool.map(look_at, (root / paths[row] for row in rows)), strict=True)
        ):
            facts[row] = fact
            if progress:
                progress(done + 1, len(rows))
    return facts


def image_faults(table: Annotations, facts: Sequence[ImageFacts | None]) -> list[Fault]:
    """What is wrong with single images."""
    faults = []
    for path, file, name, annotated, fact in zip(
        table.paths, table.files, table.names, table.sizes.tolist(), facts, strict=True
    ):
        if fact is None:
            faults.append(Fault("missing-image", file, None, f"no image {name}"))
        elif fact.fault:
            faults.append(Fault(fact.fault[0], path, None, fact.fault[1]))
        else:
            faults += _oddities(fact, path)
            height, width = annotated
            if height > 0 and width > 0 and (height, width) != fact.size:
                text = f"{name}: annotated as {width}x{height}, but the image is {fact.size[1]}x{fact.size[0]}"
                text += ", once EXIF has turned it" if fact.size == (width, height) and fact.orientation >= 5 else ""
                faults.append(Fault("size-mismatch", file, None, text))
    return faults


def _oddities(fact: ImageFacts, path: str) -> list[Fault]:
    faults = []
    if fact.mode != "RGB":
        faults.append(Fault("not-rgb", path, None, f"pixels are {fact.mode}; read as RGB"))
    if fact.orientation not in (0, 1):
        faults.append(Fault("exif-rotated", path, None, f"EXIF orientation {fact.orientation}; it is applied"))
    return faults


def _without_path(error: DataError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")
