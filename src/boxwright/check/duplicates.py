"""Images that are the same, byte by byte or nearly, and whether that leaks between splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boxwright.check.images import ImageFacts
from boxwright.data.annotations import Annotations, Fault

WHOLE_CORRELATION = 0.93
DETAIL_CORRELATION = 0.75
"""Both at least: copies that were compressed again, resized, brightened or shifted by some pixels reach them, while
different images of one microscope stay under 0.7 and 0.3, and different frames of a scene mostly under 0.8 and 0.6."""

_CHUNK = 512
_FLAT = 0.5  # gray levels: less contrast than this is no picture to compare

Members = Mapping[int, frozenset[str]]


def copied_images(table: Annotations, facts: Sequence[ImageFacts | None], members: Members) -> list[Fault]:
    """Identical and nearly identical images; ``members`` says in which splits an image is."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for row, fact in enumerate(facts):
        if fact is not None and fact.thumbnail is not None:
            groups[fact.digest].append(row)
    faults = []
    for rows in groups.values():
        for row in rows[1:]:
            other = _telling_partner(row, [earlier for earlier in rows if earlier < row], members)
            text = f"the same bytes as {table.names[other]}{_leak(row, other, members)}"
            faults.append(Fault("identical-images", table.paths[row], None, text))
    distinct = np.array([rows[0] for rows in groups.values()], np.int64)
    thumbnails = [fact.thumbnail for row in distinct if (fact := facts[row]) and fact.thumbnail is not None]
    for i, partners in near_pairs(np.array(thumbnails, np.float32).reshape(-1, 32, 32)).items():
        row = int(distinct[i])
        other = _telling_partner(row, [int(distinct[j]) for j in partners], members)
        text = f"nearly the same picture as {table.names[other]}{_leak(row, other, members)}"
        faults.append(Fault("near-identical-images", table.paths[row], None, text))
    return faults


def near_pairs(thumbnails: NDArray[np.float32]) -> dict[int, list[int]]:
    """For each gray thumbnail (n, 32, 32) the earlier ones that show nearly the same.

    Compared by correlation, which brightness and contrast don't change: of the halved thumbnail, and of its detail,
    the thumbnail minus the mean of each pixel's four neighbours, which tells apart what only light makes alike.
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


def _telling_partner(row: int, partners: list[int], members: Members) -> int:
    """One of several partners: one in another split, if any."""
    return next((other for other in partners if _leak(row, other, members)), partners[0])


def _leak(row: int, other: int, members: Members) -> str:
    mine, its = members.get(row, frozenset()), members.get(other, frozenset())
    if not mine or not its or mine & its:
        return ""
    return f" (leakage: {min(its)} and {min(mine)})"
