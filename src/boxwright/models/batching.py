"""Predict images in batches: read ahead in threads, and return results in the order of the images."""

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
"""Pixels in a batch of inputs: 10 and 163 of 320 x 320; measured on the processor, more are no faster."""
_MOST = 64
_PATIENCE = 4
"""Number of batches that an input waits at most for others of its size."""
_MOST_THREADS = 8
T = TypeVar("T")
R = TypeVar("R")


class Input(NamedTuple):
    """An image at the size of a network's input, not yet normalized."""

    pixels: Tensor
    """(H, W, 3) uint8 or float32 in 0..255; everything right of or below the frame's size is padding."""
    frame: Frame
    """Where the image is in it."""
    size: tuple[int, int]
    """(H, W) of the original image, in whose pixels boxes are returned."""


Given = Input | DataError
"""The result of reading an image."""


def auto_batch(detector: Detector) -> int:
    """Choose how many images to predict at a time: 1 to 64, fewer the larger the inputs are."""
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
    """Yield the detections of each image that ``predict`` accepts, or the error of its file, in order.

    Only a few batches are in memory at a time. A batch that does not fit is halved. The detector must be in evaluation
    mode.

    Args:
        detector: The detector.
        images: Images as ``predict`` accepts them.
        score: As in ``predict``.
        nms: As in ``predict``.
        batch: Inputs of one size at a time; None: ``auto_batch``.

    Raises:
        ValueError: For something that is not an image, and a batch below 1.
        BoxwrightError: If not even one image fits the memory.
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
    """Yield ``read`` of each item in order; threads are at most ``ahead`` items ahead. A single item needs none."""
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
    """Group inputs of one shape, at most ``size`` each, with their indices; each error is a group of its own.

    No group waits for more than a few batches of others, since later ones wait for it.
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
    """Detect in inputs of one shape, with half of them at a time if memory is too small for all."""
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
    halves = (inputs[:middle], inputs[middle:])  # outside the except block, which keeps the failed tensors alive
    return [found for half in halves for found in _within_memory(detector, half, score, nms)]
