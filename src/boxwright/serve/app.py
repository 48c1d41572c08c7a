"""The routes of a server for one model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from boxwright.runtime import Predictor
from boxwright.serve.batching import Busy
from boxwright.serve.bodies import read_uploads
from boxwright.serve.limits import Limits
from boxwright.serve.openapi import api_page, describe_api
from boxwright.serve.service import Service

T = TypeVar("T")
_GONE = 499
_TOLD = ("classes", "input", "thresholds", "nms", "figures", "start", "data", "generator")


def make_app(predictor: Predictor, limits: Limits | None = None) -> Starlette:
    """Make the ASGI application that serves a model: /predict, /model, /health, /metrics, /docs and /openapi.json.

    It opens nothing that a request names, and keeps nothing of one.
    """
    limits = limits or Limits()
    routes = _Routes(Service(predictor, limits), limits)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with routes.service.running():
            yield

    return Starlette(
        routes=[
            Route("/predict", routes.predict, methods=["POST"]),
            Route("/model", routes.model),
            Route("/health", routes.health),
            Route("/metrics", routes.metrics),
            Route("/openapi.json", routes.openapi),
            Route("/docs", routes.docs),
        ],
        exception_handlers={HTTPException: _failed, Exception: _broke},
        lifespan=lifespan,
    )


def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=dict(error.headers or {}))


def _broke(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "the server failed; its log says how"}, 500)


class _Routes:
    def __init__(self, service: Service, limits: Limits) -> None:
        self.service, self._limits = service, limits
        self._api = describe_api(limits, service.most_pixels)

    async def predict(self, request: Request) -> Response:
        """Answer with the detections of one image or several; the status is counted."""
        started, measures = perf_counter(), self.service.measures
        status = 500
        try:
            response = await self._predict(request)
            status = response.status_code
        except HTTPException as error:
            status = error.status_code
            raise
        finally:
            measures.requests.labels(str(status)).inc()
            measures.seconds.observe(perf_counter() - started)
        return response

    async def _predict(self, request: Request) -> Response:
        score = _score(request)
        try:
            with self.service.batcher.admit(1):  # before anything is read
                pass
            uploads = await read_uploads(request, self._limits)
            images = await _unless_gone(request, self.service.predict(uploads, score))
        except Busy:
            raise HTTPException(503, "too many images wait: try again later", {"Retry-After": "1"}) from None
        except ClientDisconnect:
            return Response(status_code=_GONE)
        if all("error" in image for image in images):
            names = [f"{image['name']}: " if image["name"] else "" for image in images]
            said = "; ".join(name + image["error"] for name, image in zip(names, images, strict=True))
            raise HTTPException(422, said)
        return JSONResponse({"images": images})

    async def model(self, request: Request) -> Response:
        """Answer with what the model's file says of itself."""
        metadata = self.service.predictor.metadata
        return JSONResponse({topic: metadata[topic] for topic in _TOLD if topic in metadata})

    async def health(self, request: Request) -> Response:
        """Answer that it answers, and how many images it has."""
        return JSONResponse({"status": "ok", "images": self.service.batcher.admitted})

    async def metrics(self, request: Request) -> Response:
        """Answer with the counters."""
        return Response(self.service.measures.text(), media_type="text/plain; version=0.0.4")

    async def openapi(self, request: Request) -> Response:
        """Answer with the description of the routes."""
        return JSONResponse(self._api)

    async def docs(self, request: Request) -> Response:
        """Answer with the page of the routes."""
        policy = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return HTMLResponse(api_page(self._api, str(request.base_url)), headers=policy)


def _score(request: Request) -> float | None:
    text = request.query_params.get("score")
    if text is None:
        return None
    try:
        score = float(text)
    except ValueError:
        score = -1
    if not 0 <= score <= 1:
        raise HTTPException(400, f"Expected a score in 0..1 but got {text}")
    return score


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await work for a client that is still there. Raises ClientDisconnect once it isn't; the work is cancelled."""
    task = asyncio.create_task(work)
    gone = asyncio.ensure_future(request.receive())  # with the body read, nothing else can come
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
