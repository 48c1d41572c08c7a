"""Video files: their frames one at a time, and a video of drawn ones. PyAV, the extra ``video``, is imported on use."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from boxwright._util.ownership import MADE_BY
from boxwright._util.writing import written_aside
from boxwright.errors import BoxwrightError, DataError, WriteError
from boxwright.text import plural

SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg",
     ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"}
)  # fmt: skip
_SHORT = 0.5
"""Seconds that a video may end before the length that its header has."""
_CLOCK = 60_000
"""Ticks a second of the videos that are written: MPEG-4 takes no more than 65,535."""
_CODECS = ("libx264", "mpeg4")
"""Codecs to write in; not every build of FFmpeg has the first, which players like best."""


class Frame(NamedTuple):
    """One frame of a video."""

    number: int
    """Its place among the frames that could be decoded, from 0."""
    seconds: float
    """From the video's begin."""
    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB, upright."""


def is_video(name: str) -> bool:
    """Tell whether a file's name is that of a video; hidden files are none."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def expected_frames(path: Path, every: int = 1) -> int | None:
    """Count the frames that ``read_frames`` will give, by the file's header; None if it doesn't say."""
    try:
        with _opened(path) as (_, stream, length):
            frames = stream.frames or (round(length * stream.average_rate) if length and stream.average_rate else 0)
    except DataError:  # it is told where the frames are read
        return None
    return -(-frames // every) or None


def frame_rate(path: Path) -> float:
    """Frames a second, 25 where the file doesn't say. Raises DataError."""
    with _opened(path) as (_, stream, _length):
        return float(stream.average_rate or 25)


def read_frames(path: Path, every: int = 1, start: int = 0, max_pixels: int | None = None) -> Iterator[Frame]:
    """Yield each ``every``-th frame from number ``start`` on, rotated as the video says.

    Packets that can't be decoded are passed over. ``max_pixels``: None for Pillow's limit.

    Raises:
        DataError: at the end, saying what was lost, where packets are damaged or the file is shorter than it says; at
            once for what is no video, or has frames of more pixels.
        BoxwrightError: where PyAV isn't installed.
    """
    limit = max_pixels or Image.MAX_IMAGE_PIXELS
    number, seconds, damaged = -1, 0.0, 0
    with _opened(path) as (container, stream, length):
        begin = float((stream.start_time or 0) * stream.time_base)
        for decoded in _decoded(container, stream):
            damaged += decoded is None
            for frame in decoded or ():
                number += 1
                if limit is not None and frame.width * frame.height > limit:
                    size = f"{frame.width}x{frame.height}"
                    raise DataError(f"{path}: refused, frames of {size} pixels are more than {limit} (max_pixels)")
                seconds = _seconds(frame, number, stream.average_rate) - begin * (frame.time is not None)
                if number >= start and number % every == 0:
                    yield Frame(number, round(seconds, 6), _upright(frame))
        lost = [f"{plural(damaged, 'packet')} of it can't be decoded"] if damaged else []
        if length and seconds + float(1 / (stream.average_rate or 1)) < length - _SHORT:
            lost.append(f"it ends at {seconds:.1f} of {length:.1f} s")
        if number < 0:
            raise DataError(f"{path}: not one frame of it can be decoded")
        if lost:
            raise DataError(f"{path}: {' and '.join(lost)}; {plural(number + 1, 'frame')} could be read")


def write_video(path: Path, frames: Iterable[tuple[float, Image.Image]], rate: float) -> None:
    """Write pictures at their seconds as an MP4 video; all have the size of the first. None at all: no file.

    ``rate``: frames a second, which the encoder goes by. Raises WriteError, and BoxwrightError without PyAV.
    """
    av = _av()
    following = iter(frames)
    first = next(following, None)
    if first is None:
        return
    size = tuple(side + side % 2 for side in first[1].size)  # of half the colors: even
    with written_aside(path) as partial:
        try:
            with av.open(str(partial), "w", format="mp4") as container:
                container.metadata["comment"] = MADE_BY
                stream = _stream(av, container, size, rate)
                last = -1
                for seconds, picture in _chained(first, following):
                    frame = av.VideoFrame.from_ndarray(_fitted(picture, size), format="rgb24")
                    last = max(round(seconds * _CLOCK), last + 1)
                    frame.pts, frame.time_base = last, Fraction(1, _CLOCK)
                    container.mux(stream.encode(frame))
                container.mux(stream.encode())
        except av.FFmpegError as error:
            raise WriteError(f"can't write {path}: {str(error.strerror).lower()}") from error


def _chained(first: Any, following: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from following


def _stream(av: Any, container: Any, size: tuple[int, ...], rate: float) -> Any:
    name = next(name for name in _CODECS if name in av.codecs_available)
    quick = {"preset": "veryfast"} if name == _CODECS[0] else {}
    stream = container.add_stream(
        name, options=quick, rate=max(Fraction(rate).limit_denominator(1001), Fraction(1, 1001))
    )
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = Fraction(1, _CLOCK)
    return stream


def _fitted(picture: Image.Image, size: tuple[int, ...]) -> NDArray[np.uint8]:
    """Fit the picture (H, W, 3) to the video's size by repeating its last row and column where one is missing."""
    if any(not 0 <= side - own <= 1 for side, own in zip(size, picture.size, strict=True)):
        picture = picture.resize((size[0], size[1]))
    pixels = np.asarray(picture)
    return np.pad(pixels, ((0, size[1] - picture.height), (0, size[0] - picture.width), (0, 0)), mode="edge")


def _av() -> Any:
    try:
        import av
    except ModuleNotFoundError as error:
        raise BoxwrightError("videos need PyAV: pip install 'boxwright[video]'") from error
    av.logging.set_level(None)  # what FFmpeg says of damages goes to nobody's screen
    return av


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any, float]]:
    """Open the container, and return it with its first video stream and the length in seconds, 0 if unknown."""
    av = _av()
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable video ({_reason(error)})") from None
    with container:
        if not container.streams.video:
            raise DataError(f"{path}: not a readable video (it has no picture)")
        stream = container.streams.video[0]
        length = float(stream.duration * stream.time_base) if stream.duration else 0.0
        if not length and container.duration and len(container.streams) == 1:
            length = container.duration / av.time_base
        yield container, stream, max(length, float(stream.frames / (stream.average_rate or 1)))


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).lower()


def _decoded(container: Any, stream: Any) -> Iterator[list[Any] | None]:
    """Yield the frames that each packet completes; None for one that can't be decoded, or read, which ends it."""
    errors = _av().FFmpegError
    try:
        for packet in container.demux(stream):
            try:
                yield packet.decode()
            except errors:
                yield None
    except errors:
        yield None


def _seconds(frame: Any, number: int, rate: Any) -> float:
    return float(frame.time) if frame.time is not None else number / float(rate or 25)


def _upright(frame: Any) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))
