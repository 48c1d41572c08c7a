"""The server's process: uvicorn, on a socket of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from boxwright.errors import BoxwrightError
from boxwright.runtime import Predictor
from boxwright.serve.app import make_app
from boxwright.serve.limits import Limits

_GRACE = 30  # seconds that requests have to end in once the server is stopped
_KEEP_ALIVE = 5  # seconds that a connection without a request stays open


def serve(
    model: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    limits: Limits | None = None,
    threads: int | None = None,
    started: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve an exported model until SIGTERM or Ctrl-C, which let requests that are there end first.

    ``port`` 0: any that is free. ``threads``: that compute; None: as many as there are cores. ``started`` gets the
    address once requests are taken.
    Raises RecipeError for a model that can't be opened, BoxwrightError where the address can't be had.
    """
    limits = limits or Limits()
    app = make_app(Predictor(model, threads=threads), limits)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=_patient_for(limits.patience),
        ws="none",
        limit_concurrency=limits.connections,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_GRACE,
        log_level="warning",
        access_log=False,
        server_header=False,
    )
    try:
        socket = config.bind_socket()
    except SystemExit:  # uvicorn has logged the reason
        raise BoxwrightError(f"can't listen at {host}:{port}: name another --port") from None
    server = _Server(config, lambda: started(_address(host, socket.getsockname()[1])))
    try:
        server.run([socket])
    except KeyboardInterrupt:  # raised again by uvicorn when all has ended
        pass
    finally:
        socket.close()


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._say_started = started

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._say_started()


def _patient_for(seconds: float) -> type[asyncio.Protocol]:
    """Make a protocol that closes a connection whose request head doesn't arrive within this many seconds."""

    class Patient(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._timer = self.loop.call_later(seconds, self._give_up)

        def _give_up(self) -> None:
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            waits = self.cycle is None or self.cycle.response_complete
            if waits and (self._timer is None or self._timer.cancelled()):
                self._timer = self.loop.call_later(seconds, self._give_up)
            elif not waits and self._timer is not None:
                self._timer.cancel()

        def connection_lost(self, exc: Exception | None) -> None:
            if self._timer is not None:
                self._timer.cancel()
            super().connection_lost(exc)

    return Patient
