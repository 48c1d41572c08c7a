"""Groups of images by a rule: by folder, size, EXIF entry, or a pattern in the name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import ExifTags

from boxwright.data.dataset import DetectionDataset
from boxwright.data.formats import open_with_plugins
from boxwright.errors import DataError, RecipeError

_REST = "other"
_EXIF_PARTS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_MOST_SIZES = 6


def image_groups(dataset: DetectionDataset, rule: str) -> list[str]:
    """Name the group of each image (n,).

    Args:
        dataset: The images.
        rule: "folder", the image's folder; "size", its width and height, or three thirds by pixels if there are more
            than six sizes; "exif:KEY", an EXIF entry such as exif:Model; anything else is a regular expression searched
            in the image's name: its first group, or the whole match.

    Raises:
        RecipeError: If the rule is invalid, or puts all images into one group.
    """
    names = [dataset.name(place) for place in range(len(dataset))]
    if rule == "folder":
        groups = [name.replace("\\", "/").rpartition("/")[0] or "." for name in names]
    elif rule == "size":
        groups = _by_size(dataset)
    elif rule.startswith("exif:"):
        groups = [_exif_entry(dataset, place, rule.removeprefix("exif:")) for place in range(len(dataset))]
    else:
        groups = _by_pattern(names, rule)
    if len(set(groups)) < 2:
        raise RecipeError(f"--by {rule}: all {len(groups)} images are of one group, {groups[0] if groups else _REST!r}")
    return groups


def _by_size(dataset: DetectionDataset) -> list[str]:
    height, width = dataset.sizes.astype(np.int64).T
    sizes = [f"{w}x{h}" for w, h in zip(width.tolist(), height.tolist(), strict=True)]
    if len(set(sizes)) <= _MOST_SIZES:
        return sizes
    pixels = height * width
    ends = np.quantile(pixels, [1 / 3, 2 / 3], method="lower")
    names = (f"up to {ends[0]:,} px", f"up to {ends[1]:,} px", f"above {ends[1]:,} px")
    return [names[place] for place in np.searchsorted(ends, pixels).tolist()]


def _by_pattern(names: Sequence[str], pattern: str) -> list[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise RecipeError(
            f"--by {pattern}: neither folder, size, exif:KEY nor a regular expression ({error})"
        ) from None
    found = (compiled.search(name) for name in names)
    return [_REST if match is None else match[1 if compiled.groups else 0] or _REST for match in found]


def _exif_entry(dataset: DetectionDataset, place: int, key: str) -> str:
    try:
        with open_with_plugins(dataset.path(place)) as image:
            entries = image.getexif()
            parts: list[Any] = [entries, *(entries.get_ifd(part) for part in _EXIF_PARTS)]
    except (OSError, ValueError, SyntaxError, DataError):
        return _REST
    for part in parts:
        for tag, value in part.items():
            if key in (ExifTags.TAGS.get(tag), ExifTags.GPSTAGS.get(tag), str(tag)):
                return str(value).strip() or _REST
    return _REST
