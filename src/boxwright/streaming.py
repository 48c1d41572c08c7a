"""Answer images in batches: read ahead in threads, and answered in the order in which they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from boxwright._util.memory import is_out_of_memory
from boxwright.environment import usable_cores
from boxwright.errors import BoxwrightError, DataError

PIXELS_ON_CPU, PIXELS = 2**20, 2**24
"""Pixels of a batch of inputs: 10 and 163 of 320 x 320; more are no faster, measured on the processor."""
_MOST = 64
_PATIENCE = 4
"""Batches that an input waits at most for others of its size."""
_MOST_THREADS = 8
T = TypeVar("T")
R = TypeVar("R")


class _Prepared(Protocol):
    @property
    def pixels(self) -> Any: ...
    @property
    def size(self) -> tuple[int, int]: ...


P = TypeVar("P", bound=_Prepared)
"""An image as it is prepared: its ``pixels``, and the ``size`` (H, W) that it had."""


def batch_of(size: tuple[int, int], pixels: int = PIXELS_ON_CPU) -> int:
    """Count the inputs of ``size`` (H, W) at a time that are about so many pixels: 1 to 64."""
    return min(max(pixels // (size[0] * size[1]), 1), _MOST)


def stream(
    images: Iterable[T], prepare: Callable[[T], P], answer: Callable[[Sequence[P]], Sequence[R]], batch: int
) -> Iterator[R | DataError]:
    """Yield the answer to each image, or what is wrong with its file, in their order.

    However many images there are, only a few batches of them are in memory. ``prepare`` reads one, in a thread;
    ``answer`` takes at most ``batch`` of one shape, and half of them where they don't fit the memory.
    Raises ValueError for a batch below 1, BoxwrightError where not even one fits the memory.
    """
    if batch < 1:
        raise ValueError(f"Expected a batch of at least 1 but got {batch}")

    def prepared(image: T) -> P | DataError:
        try:
            return prepare(image)
        except DataError as error:
            return error

    found: dict[int, R | DataError] = {}
    following = 0
    for group in _by_shape(_read_ahead(prepared, images, 2 * batch), batch):
        answers = _answers(answer, [given for _, given in group])
        found |= {place: each for (place, _), each in zip(group, answers, strict=True)}
        while following in found:
            yield found.pop(following)
            following += 1


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


def _by_shape(inputs: Iterable[P | DataError], size: int) -> Iterator[list[tuple[int, P | DataError]]]:
    """Groups of at most ``size`` inputs of one shape, with their places; each error is a group of its own.

    None waits for more than a few batches of others, as what comes behind it waits for it.
    """
    waiting: dict[Any, list[tuple[int, P | DataError]]] = {}  # by shape, the longest waiting first
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


def _answers(answer: Callable[[Sequence[P]], Sequence[R]], given: Sequence[P | DataError]) -> Sequence[R | DataError]:
    errors = [each for each in given if isinstance(each, DataError)]
    return errors or _within_memory(answer, [each for each in given if not isinstance(each, DataError)])


def _within_memory(answer: Callable[[Sequence[P]], Sequence[R]], inputs: Sequence[P]) -> list[R]:
    """Answers to inputs of one shape, half of them at a time where there is no memory for all."""
    try:
        return list(answer(inputs))
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        if len(inputs) == 1:
            height, width = inputs[0].size
            cure = "a model of a smaller image_size takes less"
            raise BoxwrightError(f"out of memory: an image of {height} x {width} pixels: {cure}") from error
    middle = len(inputs) // 2
    halves = (inputs[:middle], inputs[middle:])  # beyond the except block, which holds what the failure left
    return [found for half in halves for found in _within_memory(answer, half)]
