"""From bytes to detections: decoded in threads, computed in batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from boxwright.data.inputs import Input
from boxwright.environment import usable_cores
from boxwright.errors import DataError
from boxwright.runtime import Detections, Predictor
from boxwright.serve.batching import Batcher
from boxwright.serve.bodies import Upload
from boxwright.serve.limits import Limits
from boxwright.serve.measures import Measures


class Service:
    """A model, the images that wait for it, and what is counted."""

    def __init__(self, predictor: Predictor, limits: Limits) -> None:
        self.predictor, self.limits = predictor, limits
        rule = predictor.facts.input
        self.most_pixels = min(rule.pixels.max_pixels or limits.pixels, limits.pixels)
        self._rule = replace(rule, pixels=replace(rule.pixels, max_pixels=self.most_pixels))
        self._readers = ThreadPoolExecutor(usable_cores(), "boxwright-read")
        self._folder = TemporaryDirectory(prefix="boxwright-serve-")
        self._numbers = count()
        self.measures = Measures(lambda: self.batcher.admitted)
        self.batcher = Batcher(
            predictor.predict_inputs,
            batch=limits.batch,
            delay=limits.delay,
            room=limits.queue,
            note=self.measures.batches.observe,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Compute while the block runs."""
        task = asyncio.create_task(self.batcher.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self._readers.shutdown(cancel_futures=True)
            self._folder.cleanup()

    async def predict(self, uploads: Sequence[Upload], score: float | None) -> list[dict[str, Any]]:
        """Find objects in each upload: what the answer says of it. Raises Busy where there is no room for them."""
        with self.batcher.admit(len(uploads)):
            async with asyncio.TaskGroup() as tasks:
                found = [tasks.create_task(self._one(upload, score)) for upload in uploads]
        return [task.result() for task in found]

    async def _one(self, upload: Upload, score: float | None) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        try:
            given = await loop.run_in_executor(self._readers, self._decode, upload.content)
        except DataError as error:
            self.measures.images.labels("unreadable").inc()
            return {"name": upload.name, "error": str(error)}
        found = await self.batcher(given, score)
        self.measures.images.labels("found").inc()
        height, width = given.size
        return {"name": upload.name, "height": height, "width": width, "detections": self._entries(found)}

    def _decode(self, content: bytes) -> Input:
        """Decode by the code that files are decoded by, so in a file whose name no client has a say in."""
        path = Path(self._folder.name) / str(next(self._numbers))
        try:
            path.write_bytes(content)
            return self._rule.prepare(path)
        except DataError as error:
            raise DataError(str(error).replace(f"{path}: ", "")) from None
        finally:
            path.unlink(missing_ok=True)

    def _entries(self, found: Detections) -> list[dict[str, Any]]:
        rows = zip(found.labels.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True)
        classes = self.predictor.classes
        return [
            {
                "label": label,
                "class": classes[label],
                "score": round(score, 6),
                "box": [round(side, 3) for side in box],
            }
            for label, score, box in rows
        ]
