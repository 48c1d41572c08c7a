"""Keep libraries from telling their makers of their use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_SIGN = "CI"


@contextmanager
def untold() -> Iterator[None]:
    """Let OpenVINO and NNCF be imported and used within as in a CI, from which they don't report.

    Elsewhere openvino-telemetry, which both install, reports each import and conversion, and keeps an id in the home
    folder, unless people have opted out.
    """
    before = os.environ.get(_SIGN)
    os.environ[_SIGN] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SIGN]
        else:
            os.environ[_SIGN] = before
