"""Pictures that are nearly the same: copies that were saved again, and neighboring frames of a video."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boxwright._util.remembered import cache_folder
from boxwright._util.writing import opened_aside
from boxwright.data.formats import open_with_plugins
from boxwright.errors import DataError, WriteError

THUMBNAIL = 32
"""Side of the gray thumbnails that images are compared by."""
WHOLE_CORRELATION = 0.93
DETAIL_CORRELATION = 0.75
"""Both at least: copies that were compressed again, resized, brightened or shifted by some pixels reach them, while
different images of one microscope stay under 0.7 and 0.3, and different frames of a scene mostly under 0.8 and 0.6."""

_CHUNK = 512
_FLAT = 0.5  # gray levels: less contrast than this is no picture to compare
_SAID = 200  # new thumbnails above which their progress is shown


def near_pairs(thumbnails: NDArray[np.float32]) -> dict[int, list[int]]:
    """For each gray thumbnail (n, 32, 32) the earlier ones that show nearly the same.

    Compared by correlation, which brightness and contrast don't change: of the halved thumbnail, and of its detail,
    the thumbnail minus the mean of each pixel's four neighbors, which tells apart what only light makes alike.
    """
    count = len(thumbnails)
    if count < 2:
        return {}
    halved = thumbnails.reshape(count, 16, 2, 16, 2).mean((2, 4))
    whole = _normalized(halved - halved.mean((1, 2), keepdims=True))
    inner = thumbnails[:, 1:-1, 1:-1]
    around = thumbnails[:, :-2, 1:-1] + thumbnails[:, 2:, 1:-1] + thumbnails[:, 1:-1, :-2] + thumbnails[:, 1:-1, 2:]
    detail = _normalized(inner - around / 4)
    found: dict[int, list[int]] = defaultdict(list)
    for start in range(0, count, _CHUNK):
        alike = whole[start : start + _CHUNK] @ whole[: start + _CHUNK].T
        for i, j in zip(*np.nonzero(alike >= WHOLE_CORRELATION), strict=True):
            if j < start + i and float(detail[start + i] @ detail[j]) >= DETAIL_CORRELATION:
                found[start + int(i)].append(int(j))
    return found


def _normalized(pictures: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """(n, pixels) of unit length; flat pictures are 0 and so like nothing."""
    rows = pictures.reshape(len(pictures), -1)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    flat = length < _FLAT * np.sqrt(rows.shape[1])
    return np.where(flat, 0, rows / np.where(flat, 1, length)).astype(np.float32)


def thumbnails_of(root: Path, paths: Sequence[str]) -> NDArray[np.uint8]:
    """Make gray thumbnails (n, 32, 32) of image files, flat ones for unreadable files.

    They are kept in the user's cache folder, a file a data set, by path, size and time of change.
    """
    keys = [_state(root / path) for path in paths]
    kept = _Kept(root)
    pictures = np.zeros((len(paths), THUMBNAIL, THUMBNAIL), np.uint8)
    missing = []
    for row, (path, key) in enumerate(zip(paths, keys, strict=True)):
        known = kept.get(path, key)
        if known is None:
            missing.append(row)
        else:
            pictures[row] = known
    if missing:
        _make(root, paths, missing, pictures)
        kept.put(paths, keys, pictures)
    return pictures


def _make(root: Path, paths: Sequence[str], rows: Sequence[int], pictures: NDArray[np.uint8]) -> None:
    from rich.console import Console

    from boxwright._util.progress import bar

    quiet = len(rows) < _SAID
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        bar("looking for nearly identical images", Console(stderr=True, quiet=quiet)) as advance,
    ):
        made = pool.map(lambda row: _thumbnail(root / paths[row]), rows)
        for done, (row, picture) in enumerate(zip(rows, made, strict=True)):
            pictures[row] = picture
            advance(done + 1, len(rows))


def _thumbnail(path: Path) -> NDArray[np.uint8]:
    side = (THUMBNAIL, THUMBNAIL)
    try:
        with open_with_plugins(path) as image:
            image.draft("L", side)  # a JPEG is decoded at an eighth, if that is enough
            gray = _eight_bits(image) if image.mode[0] in "IF" else image.convert("L")
            return np.asarray(gray.resize(side, Image.Resampling.BOX))
    except (DataError, OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        return np.zeros(side, np.uint8)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Deep pixels by their own range."""
    values = np.nan_to_num(np.asarray(image, np.float64))
    low, high = values.min(), values.max()
    return Image.fromarray(((values - low) * (255 / max(high - low, 1e-12))).astype(np.uint8))


def _state(path: Path) -> tuple[int, int]:
    """Size and time of change, which tell a file that became another; zeros where there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return 0, 0
    return found.st_size, found.st_mtime_ns


class _Kept:
    """The thumbnails of one data set in the cache folder."""

    def __init__(self, root: Path) -> None:
        self._file: Path | None = None
        self._rows: dict[bytes, int] = {}
        self._pictures = np.zeros((0, THUMBNAIL, THUMBNAIL), np.uint8)
        with suppress(OSError, ValueError, RuntimeError, KeyError, EOFError, BadZipFile):
            name = blake2b(os.fsencode(os.path.realpath(root)), digest_size=16).hexdigest()
            self._file = cache_folder() / "thumbnails" / f"{name}.npz"
            with np.load(self._file, allow_pickle=False) as content:
                keys, pictures = content["keys"], content["pictures"]
            if pictures.shape == (len(keys), THUMBNAIL, THUMBNAIL) and pictures.dtype == np.uint8:
                self._rows = {key.tobytes(): row for row, key in enumerate(keys)}
                self._pictures = pictures

    def get(self, path: str, state: tuple[int, int]) -> NDArray[np.uint8] | None:
        """The thumbnail of a file in this state, if there is one."""
        row = self._rows.get(_key(path, state))
        return None if row is None else self._pictures[row]

    def put(self, paths: Sequence[str], states: Sequence[tuple[int, int]], pictures: NDArray[np.uint8]) -> None:
        """Keep these instead of all before, if that can be."""
        keys = np.frombuffer(b"".join(map(_key, paths, states)), np.uint8).reshape(-1, 16)
        with suppress(WriteError, OSError, RuntimeError):
            if self._file is not None:
                with opened_aside(self._file) as file:
                    np.savez(file, keys=keys, pictures=pictures)


def _key(path: str, state: tuple[int, int]) -> bytes:
    return blake2b(f"{state[0]} {state[1]} {path}".encode("utf-8", "surrogateescape"), digest_size=16).digest()
