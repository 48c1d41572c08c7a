"""Names of files that any file system takes, and that stay apart on any."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

_LONGEST = 200  # bytes of UTF-8; file systems allow 255
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)", re.IGNORECASE)  # Windows' devices
_REFUSED = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\ud800-\udfff]')


def file_stem(text: str) -> str:
    """Turn text into a file name without extension: inside one folder, short, valid on any file system."""
    stem = _REFUSED.sub("_", text).encode()[:_LONGEST].decode(errors="ignore").strip()
    return f"_{stem}" if _RESERVED.match(stem) or stem.startswith(".") or not stem else stem


def folder_name(folder: Path) -> str:
    """Return the name of a folder as people typed it: of a link its own, not that of where it leads."""
    return Path(os.path.abspath(folder)).name


def distinct_names(texts: Iterable[str], suffix: str) -> list[str]:
    """Make a file name with ``suffix`` for each text, numbered where another has it already.

    They stay apart where case, or the way that an accent is written, makes no difference.
    """
    taken: set[str] = set()
    numbers: dict[str, int] = {}
    names = []
    for text in texts:
        stem = file_stem(text)
        key = _folded(stem)
        number = numbers.get(key, 0) + 1
        while _folded(name := stem + (f"-{number}" if number > 1 else "") + suffix) in taken:
            number += 1
        numbers[key] = number
        taken.add(_folded(name))
        names.append(name)
    return names


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())
