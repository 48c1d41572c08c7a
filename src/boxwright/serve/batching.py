"""Inputs of several requests computed together: a bounded queue, and one thread that answers it batch by batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from boxwright.data.inputs import Input
from boxwright.runtime import Detections

Answer = Callable[[Sequence[Input], float | None], Sequence[Detections]]
"""Detections of some inputs of one shape, above a score or the model's own."""


class Busy(Exception):
    """There is no room for so many images more."""


@dataclass(eq=False)
class _Waiting:
    input: Input
    score: float | None
    found: asyncio.Future[Detections]
    since: float

    @property
    def kind(self) -> tuple[tuple[int, ...], float | None]:
        """Shape and score that all images of a batch have in common."""
        return self.input.pixels.shape, self.score


class Batcher:
    """Gathers inputs of one shape, and one score, into batches.

    An input waits for others at most ``delay`` seconds once the network is free, and not at all where no other image
    has been admitted that isn't waiting already.
    """

    def __init__(self, answer: Answer, *, batch: int, delay: float, room: int, note: Callable[[int], Any]) -> None:
        """Admit at most ``room`` images at a time; ``note`` is called with the size of each batch."""
        self._answer, self._batch, self._delay, self._room, self._note = answer, batch, delay, room, note
        self._waiting: list[_Waiting] = []
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "boxwright-compute")
        self.admitted = 0
        """Images that are decoded, wait or are computed."""

    @contextmanager
    def admit(self, images: int) -> Iterator[None]:
        """Keep room for so many images while the block runs. Raises Busy where there is none."""
        if self.admitted + images > self._room:
            raise Busy
        self.admitted += images
        try:
            yield
        finally:
            self.admitted -= images
            self._arrived.set()  # those that wait may have no other to wait for

    async def __call__(self, given: Input, score: float | None = None) -> Detections:
        """Compute the detections of an input above a score, None for the model's own.

        One whose task is cancelled before its turn is never computed.
        """
        loop = asyncio.get_running_loop()
        one = _Waiting(given, score, loop.create_future(), loop.time())
        self._waiting.append(one)
        self._arrived.set()
        return await one.found

    async def run(self) -> None:
        """Answer what comes until the task is cancelled."""
        try:
            while True:
                await self._compute(await self._gathered())
        finally:
            self._thread.shutdown(cancel_futures=True)

    async def _gathered(self) -> list[_Waiting]:
        """The next batch: of the kind of the input that has waited longest."""
        loop = asyncio.get_running_loop()
        while True:
            self._waiting = [one for one in self._waiting if not one.found.done()]
            left: float | None = None
            if self._waiting:
                first = self._waiting[0]
                group = [one for one in self._waiting if one.kind == first.kind][: self._batch]
                left = first.since + self._delay - loop.time()
                if len(group) == self._batch or left <= 0 or len(self._waiting) >= self.admitted:
                    self._waiting = [one for one in self._waiting if one not in group]
                    return group
            self._arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._arrived.wait()

    async def _compute(self, group: list[_Waiting]) -> None:
        inputs = [one.input for one in group]
        self._note(len(group))
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, inputs, group[0].score)
        except Exception as error:  # it is for those who asked; the next batch goes on
            for one in group:
                if not one.found.done():
                    one.found.set_exception(error)
            return
        for one, detections in zip(group, found, strict=True):
            if not one.found.done():
                one.found.set_result(detections)
