"""Small things that one process found out and later ones needn't: a file for each in the user's cache folder.

They can be found out again, so a file that can't be read or written is no error.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

from boxwright._util.reading import read_regular
from boxwright._util.writing import write_json
from boxwright.errors import WriteError


def cache_folder() -> Path:
    """Return the cache folder: BOXWRIGHT_CACHE, or ``boxwright`` in XDG_CACHE_HOME or ~/.cache.

    Raises:
        RuntimeError: If there is no home folder.
    """
    if own := os.environ.get("BOXWRIGHT_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "boxwright"


def recall(kind: str, facts: Mapping[str, Any]) -> Any:
    """Look up the value stored for these facts, plain JSON values; None if there is none."""
    with suppress(OSError, ValueError, RuntimeError, RecursionError):
        content = json.loads(read_regular(_path(kind, facts)))
        if isinstance(content, dict) and content.get("facts") == facts:
            return content.get("value")
    return None


def remember(kind: str, facts: Mapping[str, Any], value: Any) -> None:
    """Keep a plain value under these facts, if that can be."""
    with suppress(WriteError, OSError, ValueError, RuntimeError):
        write_json(_path(kind, facts), {"facts": dict(facts), "value": value})


def _path(kind: str, facts: Mapping[str, Any]) -> Path:
    digest = blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()
    return cache_folder() / kind / f"{digest}.json"
