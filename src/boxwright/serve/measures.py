"""What a server counts, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Measures:
    """Counters of one server."""

    def __init__(self, admitted: Callable[[], float]) -> None:
        self._registry = CollectorRegistry()
        where: dict[str, Any] = {"namespace": "boxwright", "registry": self._registry}
        self.requests = Counter("requests", "Requests to /predict by status.", ["status"], **where)
        self.images = Counter("images", "Images of answered requests: found or unreadable.", ["outcome"], **where)
        self.seconds = Histogram("request_seconds", "From a request's head to its answer.", buckets=_SECONDS, **where)
        self.batches = Histogram("batch_images", "Images computed at a time.", buckets=_SIZES, **where)
        queue = Gauge("queue_images", "Images that are decoded, wait or are computed.", **where)
        queue.set_function(admitted)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """Format all measures as Prometheus' text format."""
        text: bytes = generate_latest(self._registry)
        return text
