"""What a detector is asked about, one after the other: images, and the frames of videos."""

from __future__ import annotations

import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from boxwright.errors import BoxwrightWarning, DataError
from boxwright.runs.videos import expected_frames, is_video, read_frames
from boxwright.types import Detections

_MOST_NAMED = 10


class Asked(NamedTuple):
    """One image or frame, or what is wrong with a video."""

    place: int
    """Index of its file among the files."""
    image: Path | NDArray[np.uint8] | DataError
    """The file itself, or the frame's pixels (H, W, 3)."""
    frame: int | None = None
    """The frame's number in its video."""
    seconds: float | None = None

    @property
    def about(self) -> dict[str, Any]:
        """Facts kept beside its detections."""
        return {"file": self.place} | ({} if self.frame is None else {"frame": self.frame, "seconds": self.seconds})


def ask(files: Sequence[Path], last: dict[str, Any] | None, every: int, max_pixels: int | None) -> Iterator[Asked]:
    """Yield the images, and each ``every``-th frame of the videos, that come after the ``last`` kept one."""
    start = 0 if last is None else last["file"] + ("frame" not in last)
    for place, file in enumerate(files[start:], start):
        if not is_video(file.name):
            yield Asked(place, file)
            continue
        begun = last is not None and last["file"] == place
        try:
            for frame in read_frames(file, every, last["frame"] + 1 if last and begun else 0, max_pixels):
                yield Asked(place, frame.pixels, frame.number, frame.seconds)
        except DataError as error:
            yield Asked(place, error)


def answered(
    asked: Iterable[Asked], stream: Callable[[Iterator[Any]], Iterable[Detections | DataError]]
) -> Iterator[tuple[Asked, Detections | DataError]]:
    """Yield each source with its detections, in order; only as many are in memory as the stream reads ahead."""
    waiting: deque[Asked] = deque()

    def images() -> Iterator[Any]:
        for each in asked:
            waiting.append(each)
            if not isinstance(each.image, DataError):
                yield each.image

    for found in stream(images()):
        yield from _faults(waiting)
        yield waiting.popleft(), found
    yield from _faults(waiting)


def _faults(waiting: deque[Asked]) -> Iterator[tuple[Asked, DataError]]:
    while waiting:
        fault = waiting[0].image
        if not isinstance(fault, DataError):
            return
        yield waiting.popleft(), fault


def how_many(files: Sequence[Path], every: int) -> int | None:
    """Count images and frames, by what the videos' headers say; None if one doesn't say."""
    counts = [expected_frames(file, every) if is_video(file.name) else 1 for file in files]
    return None if None in counts else sum(count for count in counts if count)


def listed(lines: BinaryIO) -> list[Path]:
    """Read file names from standard input, one per line, or separated by NUL as ``find -print0`` writes them.

    A line that names no file is left out with a warning that has its number.
    """
    content = lines.read()
    names = content.split(b"\0") if b"\0" in content else content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    files: list[Path] = []
    bad = []
    for number, name in enumerate(names, start=1):
        if text := name.decode(sys.getfilesystemencoding(), "surrogateescape").rstrip("\r"):
            file = Path(text)
            why = _why_not(file)
            if why is None:
                files.append(file)
            else:
                bad.append(f"left out line {number} of standard input: {text}: {why}")
    if len(bad) > _MOST_NAMED:
        bad[_MOST_NAMED:] = [f"left out {len(bad) - _MOST_NAMED} more lines of standard input"]
    for line in bad:
        warnings.warn(line, BoxwrightWarning, stacklevel=2)
    return files


def _why_not(file: Path) -> str | None:
    """Why it is no file to be read; None where it is one."""
    try:
        if file.is_file():
            return None
        return "it is a folder" if file.is_dir() else "it is no regular file" if file.exists() else "no such file"
    except (OSError, ValueError) as error:
        return str(getattr(error, "strerror", None) or error).lower()
