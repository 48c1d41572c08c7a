"""Predict images in batches: read ahead in threads, and answered in the order in which they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from torch import Tensor

from boxwright._util.memory import is_out_of_memory
from boxwright.data.transforms import Frame
from boxwright.environment import usable_cores
from boxwright.errors import BoxwrightError, DataError
from boxwright.models.memory import largest_input
from boxwright.nms import NmsKind
from boxwright.types import Detections

if TYPE_CHECKING:
    from boxwright.models.detector import Detector, Score

_PIXELS_ON_CPU, _PIXELS = 2**20, 2**24
"""Pixels of a batch of inputs: 10 and 163 of 320 x 320; more are no faster, measured on the processor."""
_MOST = 64
_PATIENCE = 4
"""Batches that an input waits at most for others of its size."""
_MOST_THREADS = 8
T = TypeVar("T")
R = TypeVar("R")


class Input(NamedTuple):
    """An image at the size of a network's input, not yet normalized."""

    pixels: Tensor
    """(H, W, 3) uint8 or float32 in 0..255; what lies right of or below the frame's size is padding."""
    frame: Frame
    """The image in it."""
    size: tuple[int, int]
    """(H, W) of the image, which boxes go by."""


Given = Input | DataError
"""What reading an image gives."""


def auto_batch(detector: Detector) -> int:
    """The images at a time that prediction takes unless told: 1 to 64, fewer the larger its inputs are."""
    height, width = largest_input(detector.recipe)
    pixels = _PIXELS_ON_CPU if detector.device.type == "cpu" else _PIXELS
    return min(max(pixels // (height * width), 1), _MOST)


def predict_stream(
    detector: Detector,
    images: Iterable[Any],
    *,
    score: Score | None = None,
    nms: NmsKind | None = None,
    batch: int | None = None,
) -> Iterator[Detections | DataError]:
    """Yield the detections of each image that ``predict`` takes, or what is wrong with its file, in their order.

    However many images there are, only a few batches of them are in memory. ``batch``: inputs at a time, of one size;
    None: ``auto_batch``. One that doesn't fit the memory is halved. The detector must be in evaluation mode.
    Raises ValueError for what is no image and a batch below 1, BoxwrightError where not even one fits the memory.
    """
    size = auto_batch(detector) if batch is None else batch
    if size < 1:
        raise ValueError(f"Expected a batch of at least 1 but got {size}")
    found: dict[int, Detections | DataError] = {}
    following = 0
    for group in _by_shape(_read_ahead(lambda image: _prepared(detector, image), images, 2 * size), size):
        answers = _answers(detector, [given for _, given in group], score, nms)
        found |= {place: answer for (place, _), answer in zip(group, answers, strict=True)}
        while following in found:
            yield found.pop(following)
            following += 1


def _prepared(detector: Detector, image: Any) -> Given:
    try:
        return detector.prepare(image)
    except DataError as error:
        return error


def _read_ahead(read: Callable[[T], R], items: Iterable[T], ahead: int) -> Iterator[R]:
    """Yield ``read`` of each item in order; threads are at most so many items ``ahead``. A single item needs none."""
    if isinstance(items, Sequence) and len(items) == 1:
        yield read(items[0])
        return
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(min(usable_cores(), _MOST_THREADS), "boxwright-read")
    try:
        for item in items:
            waiting.append(pool.submit(read, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _by_shape(inputs: Iterable[Given], size: int) -> Iterator[list[tuple[int, Given]]]:
    """Groups of at most ``size`` inputs of one shape, with their places; each error is a group of its own.

    None waits for more than a few batches of others, as what comes behind it waits for it.
    """
    waiting: dict[Any, list[tuple[int, Given]]] = {}  # by shape, the longest waiting first
    for place, given in enumerate(inputs):
        if isinstance(given, DataError):
            yield [(place, given)]
        else:
            shape = given.pixels.shape
            group = waiting.setdefault(shape, [])
            group.append((place, given))
            if len(group) == size:
                yield waiting.pop(shape)
        if waiting:
            shape, group = next(iter(waiting.items()))
            if place - group[0][0] >= _PATIENCE * size:
                yield waiting.pop(shape)
    yield from waiting.values()


def _answers(
    detector: Detector, given: Sequence[Given], score: Score | None, nms: NmsKind | None
) -> Sequence[Detections | DataError]:
    errors = [each for each in given if isinstance(each, DataError)]
    return errors or _within_memory(detector, [each for each in given if isinstance(each, Input)], score, nms)


def _within_memory(
    detector: Detector, inputs: Sequence[Input], score: Score | None, nms: NmsKind | None
) -> list[Detections]:
    """Detections of inputs of one shape, half of them at a time where there is no memory for all."""
    try:
        return detector.predict_inputs(inputs, score, nms)
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        if len(inputs) == 1:
            height, width = inputs[0].size
            cure = "a model of a smaller image_size takes less"
            raise BoxwrightError(f"out of memory: an image of {height} x {width} pixels: {cure}") from error
    middle = len(inputs) // 2
    halves = (inputs[:middle], inputs[middle:])  # beyond the except block, which holds what the failure left
    return [found for half in halves for found in _within_memory(detector, half, score, nms)]
