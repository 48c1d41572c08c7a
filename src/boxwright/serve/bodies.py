"""The images in a request's body: bytes in memory, as many as are allowed, before anything is decoded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import NamedTuple

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from boxwright.serve.limits import Limits

_FIELDS = 16  # of a form that are no files: they are left out


class Upload(NamedTuple):
    """An image as it was sent."""

    name: str | None
    """File name given by the client; nothing is opened by it."""
    content: bytes


async def read_uploads(request: Request, limits: Limits) -> list[Upload]:
    """Read the images of a request: its body, or the files of a form.

    Raises HTTPException: 400 for a malformed body, 408 for one that comes too slowly, 413 for one that is too large, or
    has too many images.
    """
    body = await _read(request, limits)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        if not body:
            raise HTTPException(400, "the body is empty: send the bytes of an image, or a form of files")
        return [Upload(None, body)]

    async def once() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(request.headers, once(), max_files=limits.images, max_fields=_FIELDS)
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError, AssertionError) as error:  # what a malformed form leads it into
        reason = getattr(error, "message", "") or "it is malformed"
        raise HTTPException(413 if reason.startswith("Too many files") else 400, f"the form: {reason}") from None
    try:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        if not files:
            raise HTTPException(400, "the form has no file: send images as its files")
        return [Upload(file.filename, await file.read()) for file in files]
    finally:
        await form.close()


async def _read(request: Request, limits: Limits) -> bytes:
    too_large = HTTPException(413, f"the body is larger than {limits.body} bytes")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.body:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(limits.patience):
            async for chunk in request.stream():
                if len(body) + len(chunk) > limits.body:
                    raise too_large
                body += chunk
    except TimeoutError:
        raise HTTPException(408, f"the body didn't come within {limits.patience:g} seconds") from None
    return bytes(body)
