"""Read people's files: never a pipe that waits for ever, and text in whatever encoding a tool wrote it."""

from __future__ import annotations

import codecs
import errno
import mmap
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

NO_FILE = "is a pipe, a device or a socket, not a file"

_BYTE = re.compile("[\udc80-\udcff]")  # one that is no UTF-8, as Python's file names have it
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_MARKS = (  # the longer first: UTF-32's begins as UTF-16's does
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_regular(path: Path, most: int | None = None) -> bytes:
    """Read a regular file; of one with more than ``most`` bytes the beginning, and a sixteenth of that of the end.

    Pipes, devices and sockets are OSErrors: opening them waits for nobody. Raises OSError, and ValueError for a name
    that no file system takes.
    """
    with _open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if most is None or size <= most:
            return file.read()
        beginning = file.read(most)
        file.seek(max(most, size - most // 16))
        return beginning + file.read()


def map_regular(path: Path) -> bytes | mmap.mmap:
    """Map a regular file into memory, which spares a copy of a large one. Raises as ``read_regular``."""
    with _open_regular(path) as file:
        if os.fstat(file.fileno()).st_size == 0:
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _open_regular(path: Path) -> BinaryIO:
    file = open(os.open(path, _FLAGS), "rb")  # noqa: SIM115
    mode = os.fstat(file.fileno()).st_mode
    if stat.S_ISREG(mode):
        return file
    file.close()
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    raise OSError(errno.EINVAL, NO_FILE)


def as_utf8(data: bytes) -> bytes:
    """Return text as UTF-8 without a byte order mark. UTF-16 and UTF-32 are known by their mark, or by their zeros."""
    if data.startswith(codecs.BOM_UTF8):
        return data.removeprefix(codecs.BOM_UTF8)
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _recode(data.removeprefix(mark), encoding)
    if data[1:2] == b"\0" != data[:1]:
        return _recode(data, "utf-32-le" if data[2:4] == b"\0\0" else "utf-16-le")
    if data[:1] == b"\0" != data[1:2]:
        return _recode(data, "utf-16-be")
    return data


def as_text(data: bytes) -> str:
    """Decode text as ``as_utf8`` does; bytes that are no UTF-8 stay as surrogates, as in names of files."""
    return as_utf8(data).decode("utf-8", "surrogateescape")


def readable(text: str) -> str:
    """Return a name without surrogates and outer blanks. Bytes that are no UTF-8 are taken for Windows-1252."""
    if not text.isascii():
        text = escaped(_BYTE.sub(lambda byte: bytes([ord(byte[0]) - 0xDC00]).decode("cp1252", "replace"), text))
    return text.strip()


def escaped(text: str) -> str:
    r"""Return text that every encoding accepts: surrogates are spelled out, as in ``\udce9``."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _recode(data: bytes, encoding: str) -> bytes:
    return data.decode(encoding, "replace").encode("utf-8", "replace")
