"""What lies below a data set's folder, and nothing that doesn't.

Every path that an annotation names goes through :class:`Tree`: it answers from directory listings that are read once,
follows no link out of the folder, and so never opens a file elsewhere.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from boxwright.errors import DataError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"})

State = Literal["there", "missing", "outside"]


def is_image(name: str) -> bool:
    """Whether a file's name says that it is an image; hidden files (``._x.jpg`` of macOS) are none."""
    return not name.startswith(".") and posixpath.splitext(name)[1].lower() in IMAGE_SUFFIXES


def stem(name: str) -> str:
    """The last part of a path without its extension."""
    return posixpath.splitext(posixpath.basename(name))[0]


class Tree:
    """The folder of a data set. Paths are relative to it, with forward slashes."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.opened: set[str] = set()
        """Files that were read."""
        self._listings: dict[str, dict[str, bool] | None] = {}

    def tidy(self, path: str) -> str | None:
        """The path below the folder without ``.`` and ``..``; None where it leads out of the folder."""
        path = path.replace("\\", "/")
        if "/" not in path and path not in ("", ".", "..") and path[1:2] != ":":
            return path
        if _is_absolute(path):
            try:
                path = Path(path).resolve().relative_to(self.root).as_posix()
            except (ValueError, OSError):
                return None
        path = posixpath.normpath(path)
        return None if path.startswith("..") and path[2:3] in ("", "/") else path

    def entries(self, folder: str) -> dict[str, bool]:
        """Names in a folder with whether each is a link; empty where the folder is missing or lies elsewhere."""
        return self._listing(folder) or {}

    def files(self, folder: str, suffix: str = "") -> list[str]:
        """Sorted names in a folder that end in ``suffix`` (any case), without hidden ones."""
        return sorted(n for n in self.entries(folder) if not n.startswith(".") and n.lower().endswith(suffix))

    def images(self, folder: str) -> list[str]:
        """Sorted names of the images in a folder."""
        return sorted(filter(is_image, self.entries(folder)))

    def is_folder(self, folder: str) -> bool:
        """Whether there is such a folder, inside."""
        return self.state(folder) == "there" and (self.root / folder).is_dir()

    def folder(self, parent: str, *names: str) -> str | None:
        """The first of ``names`` (any case) that is a folder in ``parent``, as a path below the data set's."""
        there = {name.lower(): name for name in sorted(self.entries(parent), reverse=True)}
        for name in names:
            if name in there and self.is_folder(path := join(parent, there[name])):
                return path
        return None

    def state(self, path: str) -> State:
        """Whether a file or folder is there, missing, or (itself or by a link) outside the folder."""
        tidied = self.tidy(path)
        if tidied is None:
            return "outside"
        if tidied == ".":
            return "there"
        folder, name = posixpath.split(tidied)
        listing = self._listing(folder)
        if listing is None:
            return "outside"
        if name not in listing:
            return "missing"
        return "there" if not listing[name] or self._inside(tidied) else "outside"

    def read(self, path: str) -> bytes:
        """Content of a file without UTF-8's byte order mark.

        Raises:
            DataError: where it can't be read, or lies outside.
        """
        if self.state(path) != "there":
            raise DataError(f"{path}: {self.state(path)}")
        self.opened.add(path)
        try:
            return (self.root / path).read_bytes().removeprefix(b"\xef\xbb\xbf")
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}") from None

    def read_lines(self, path: str) -> list[str]:
        """Lines of a text file that aren't blank, stripped. Raises DataError as :meth:`read`."""
        lines = map(str.strip, self.read(path).decode("utf-8", "replace").splitlines())
        return [line for line in lines if line]

    def locate(self, folder: str, names: Iterable[str]) -> list[tuple[str, State]]:
        """Path below the data set's folder, and state, of files named relative to ``folder``.

        One that is missing there is outside if it leads out of the data set's own folder.
        """
        listing = self._listing(folder) or {}
        found: list[tuple[str, State]] = []
        for name in names:
            path = name if _is_absolute(name) else join(folder, name)
            if listing.get(name) is False:  # a plain file of that very folder
                found.append((path, "there"))
            else:
                state = self.state(path)
                outside = state == "missing" and self.tidy(name) is None
                found.append((self.tidy(path) or path, "outside" if outside else state))
        return found

    def _inside(self, path: str) -> bool:
        return Path(os.path.realpath(self.root / path)).is_relative_to(self.root)

    def _listing(self, folder: str) -> dict[str, bool] | None:
        if folder not in self._listings:
            self._listings[folder] = self._scan(folder)
        return self._listings[folder]

    def _scan(self, folder: str) -> dict[str, bool] | None:
        try:
            if not self._inside(folder):
                return None
            with os.scandir(self.root / folder) as scan:
                return {entry.name: entry.is_symlink() for entry in scan}
        except (OSError, ValueError):  # no such folder; a name that no file system takes
            return {}


def join(folder: str, name: str) -> str:
    """A path below the data set's folder."""
    return f"{folder}/{name}" if folder not in ("", ".") else name


def _is_absolute(path: str) -> bool:
    return path.startswith(("/", "\\")) or path[1:2] == ":"


class Strings:
    """A list of strings as one utf-8 blob: workers get it by copying two arrays, whatever the number of strings."""

    __slots__ = ("blob", "offsets")

    def __init__(self, blob: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        self.blob, self.offsets = blob, offsets

    @classmethod
    def pack(cls, strings: Iterable[str]) -> Strings:
        """From any strings; file names that aren't valid Unicode survive."""
        encoded = [text.encode("utf-8", "surrogateescape") for text in strings]
        offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(text) for text in encoded], out=offsets[1:])
        return cls(np.frombuffer(b"".join(encoded), np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> str:
        start, stop = self.offsets[index], self.offsets[index + 1]
        return self.blob[start:stop].tobytes().decode("utf-8", "surrogateescape")
