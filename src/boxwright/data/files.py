"""The files below a data set's folder, and no others.

Every path that an annotation names goes through ``Tree``: it answers from directory listings that are read once,
follows no link out of the folder unless allowed, and so never opens a file elsewhere. Folders that boxwright created
appear empty to it: training and prediction results inside the data are not data.
"""

from __future__ import annotations

import os
import posixpath
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from mmap import mmap
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from boxwright._util.ownership import FOLDER_MARKER, is_ours
from boxwright._util.reading import NO_FILE, as_text, map_regular, read_regular
from boxwright.data.formats import READ_SUFFIXES, UNREAD_SUFFIXES
from boxwright.data.splits import split_folders
from boxwright.errors import DataError

IMAGE_SUFFIXES = READ_SUFFIXES | UNREAD_SUFFIXES

Kind = Literal["file", "folder", "link", "special"]
"""Kind of a name in a folder; pipes, devices and sockets are special."""
State = Literal["there", "missing", "outside", "special"]
Content = TypeVar("Content", bytes, "bytes | mmap")

_EMPTY = 3  # bytes; so short a file, "[]\n", is nobody's
_LONGEST = 4096  # characters; no file system takes a longer path


def is_image(name: str) -> bool:
    """Tell by its name whether a file is an image; hidden files (macOS's ``._x.jpg``) are not."""
    return not name.startswith(".") and posixpath.splitext(name)[1].lower() in IMAGE_SUFFIXES


def composed(name: str) -> str:
    """Compose each accented letter of a name into one character; macOS stores letter and accent separately."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def stem(name: str) -> str:
    """Return the last part of a path without its extension, for comparison with others."""
    return composed(posixpath.splitext(posixpath.basename(name))[0])


def _folded(path: str) -> str:
    """Normalize a path for the case of its extension and the encoding of its accents."""
    front, suffix = posixpath.splitext(composed(path))
    return front + suffix.lower()


class Tree:
    """The folder of a data set. Paths are relative to it, with forward slashes.

    Args:
        root: The folder.
        allow_links: Follow links out of the folder, and read folders outside that are admitted with ``admit``.
        own: Also read JSON files that boxwright wrote.
    """

    def __init__(self, root: Path, allow_links: bool = False, own: bool = False) -> None:
        self.root = root.resolve()
        self.allow_links = allow_links
        self.links: dict[str, str] = {}
        """Links and folders outside that were met, and where they lead."""
        self.marked: list[str] = []
        """Folders that were met and that boxwright made."""
        self.remarks: list[str] = []
        """Files that the search for a layout met and couldn't use, for the message where none is found."""
        self._own = own
        self._admitted: list[Path] = []
        self._listings: dict[str, dict[str, Kind] | None] = {}
        self._below: dict[str, list[str]] = {}
        self._by_name: dict[str, list[str]] = {}

    def tidy(self, path: str) -> str | None:
        """Return the path below the folder without ``.`` and ``..``; None if it leads out of the folder."""
        path = path.replace("\\", "/")
        if "/" not in path and path not in ("", ".", "..") and path[1:2] != ":":
            return path
        if len(path) > _LONGEST:
            return path  # it is nowhere
        if is_absolute(path):
            return self._from_absolute(path)
        path = posixpath.normpath(path)
        outside = path.startswith("..") and path[2:3] in ("", "/")
        return self._from_absolute(str(self.root / path)) if outside else path

    def _from_absolute(self, path: str) -> str | None:
        try:
            resolved = Path(path).resolve()
        except (ValueError, OSError, RuntimeError):
            return None
        if resolved.is_relative_to(self.root):
            return resolved.relative_to(self.root).as_posix()
        return resolved.as_posix() if any(map(resolved.is_relative_to, self._admitted)) else None

    def admit(self, folder: str) -> bool:
        """Tell whether a folder outside, named by a configuration, exists and may be read."""
        place = self.root / folder
        if len(folder) > _LONGEST or not place.is_dir():
            return False
        self.links[folder] = str(place.resolve())
        if self.allow_links:
            self._admitted.append(place.resolve())
        return self.allow_links

    def entries(self, folder: str) -> dict[str, Kind]:
        """Map the names in a folder to their kinds; empty if the folder is missing, outside or boxwright's."""
        return self._listing(folder) or {}

    def files(self, folder: str, suffix: str = "") -> list[str]:
        """List, sorted, the names in a folder that end in ``suffix`` (any case), without folders and hidden files."""
        return sorted(
            name
            for name, kind in self.entries(folder).items()
            if not name.startswith(".") and kind != "folder" and name.lower().endswith(suffix)
        )

    def images(self, folder: str) -> list[str]:
        """List, sorted, the names of the images in a folder."""
        return sorted(name for name, kind in self.entries(folder).items() if kind != "folder" and is_image(name))

    def below(self, folder: str = ".") -> list[str]:
        """List, sorted, the paths of all files in a folder and its subfolders, without hidden ones."""
        if folder not in self._below:
            self._below[folder] = sorted(self._walk(folder))
        return self._below[folder]

    def images_below(self, folder: str = ".") -> list[str]:
        """List, sorted, the paths of the images in a folder and its subfolders."""
        return [path for path in self.below(folder) if is_image(posixpath.basename(path))]

    def is_folder(self, folder: str) -> bool:
        """Tell whether there is such a folder inside the data set's."""
        return self.state(folder) == "there" and (self.root / folder).is_dir()

    def folder(self, parent: str, *names: str) -> str | None:
        """Find the first of ``names`` (any case) that is a folder in ``parent``, as a path below the data set's."""
        there = {name.lower(): name for name in sorted(self.entries(parent), reverse=True)}
        for name in names:
            if name in there and self.is_folder(path := join(parent, there[name])):
                return path
        return None

    def state(self, path: str) -> State:
        """Tell whether a file or folder exists, is missing, is no file, or is outside the folder, also by a link."""
        tidied = self.tidy(path)
        if tidied is None:
            return "outside"
        if tidied == ".":
            return "there"
        folder, name = posixpath.split(tidied)
        listing = self._listing(folder)
        if listing is None:
            return "outside"
        kind = listing.get(name)
        if kind == "link":
            return self._behind(tidied)
        return "missing" if kind is None else "special" if kind == "special" else "there"

    def is_own(self, path: str) -> bool:
        """Tell whether boxwright wrote a picture or JSON file, which is then ignored."""
        if self._own or not (is_image(posixpath.basename(path)) or path.lower().endswith(".json")):
            return False
        place = self.root / path
        return self.state(path) == "there" and place.is_file() and place.stat().st_size > _EMPTY and is_ours(place)

    def read(self, path: str, most: int | None = None) -> bytes:
        """Read a file; of one with more than ``most`` bytes only the beginning and part of the end.

        Raises:
            DataError: If it cannot be read, is no file, or is outside.
        """
        return self._read(path, partial(read_regular, most=most))

    def map(self, path: str) -> bytes | mmap:
        """Content of a large file, without a copy of it. Raises DataError as ``read``."""
        return self._read(path, map_regular)

    def _read(self, path: str, reading: Callable[[Path], Content]) -> Content:
        state = self.state(path)
        if state != "there":
            raise DataError(f"{path}: {NO_FILE if state == 'special' else state}")
        try:
            return reading(self.root / path)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: {getattr(error, 'strerror', error)}") from None

    def text(self, path: str) -> str:
        """Read a text file in any Unicode encoding; raises DataError as ``read`` does."""
        return as_text(self.read(path))

    def read_lines(self, path: str) -> list[str]:
        """Read the non-blank lines of a text file, stripped; raises DataError as ``read`` does."""
        lines = map(str.strip, self.text(path).splitlines())
        return [line for line in lines if line]

    def locate(self, folder: str, names: Iterable[str]) -> list[tuple[str, State]]:
        """Return the path below the data set's folder, and the state, of files named relative to ``folder``.

        A missing file counts as outside if its name leads out of the data set's own folder.
        """
        listing = self._listing(folder) or {}
        found: list[tuple[str, State]] = []
        below = join(folder, "")
        for name in names:
            if listing.get(name) == "file":
                found.append((below + name, "there"))
            else:
                path = name if is_absolute(name) else join(folder, name)
                state = self.state(path)
                outside = state == "missing" and self.tidy(name) is None
                found.append((self.tidy(path) or path, "outside" if outside else state))
        return found

    def is_there(self, parts: list[str]) -> bool:
        """Tell whether the parts of a path lead to a file or folder."""
        folder = "."
        for part in parts[:-1]:
            if self.entries(folder).get(part) not in ("folder", "link"):
                return False
            folder = join(folder, part)
        return self.state(join(folder, parts[-1])) == "there"

    def nearest(self, path: str, home: str = "") -> str | None:
        """Find the file meant by a path from another machine: by its longest existing end, else by its name alone.

        By name alone only if exactly one file below the folder has it. The case of the extension and the encoding of
        accents may differ, and paths may be quoted as in a URL. A path that only climbs (../x.jpg) means a file
        outside. If ``home``, the folder of the file that names the path, is named like a split, files in the folders of
        other splits are excluded.
        """
        names = [name for name in spellings(path) if self._called(posixpath.basename(name))]
        if not names or (".." in path and len(parts_of(path)) < 2):
            return None
        near = next(filter(None, (self._nearest(parts_of(name)) for name in names)), None)
        own, its = split_folders(home), split_folders(posixpath.dirname(near or ""))
        return None if own and its and not own & its else near

    def _nearest(self, parts: list[str]) -> str | None:
        alike = self._called(parts[-1]) if parts else []
        ends = ["/".join(parts[start:]) for start in range(len(parts))]
        for start, end in enumerate(ends):
            if self.is_there(parts[start:]) and not self.is_folder(end):
                return end
        by_end = ([path for path in alike if _folded(path) == _folded(end)] for end in ends)
        by_name = [path for path in alike if posixpath.basename(path) == parts[-1]] or alike
        return next((found[0] for found in (*by_end, by_name) if len(found) == 1), None)

    def _called(self, name: str) -> list[str]:
        """List the files below the folder with this name, up to the case of the extension."""
        if not self._by_name:
            names = defaultdict(list)
            for file in self.below():
                names[_folded(posixpath.basename(file))].append(file)
            self._by_name = dict(names)
        return self._by_name.get(_folded(name), [])

    def _walk(self, folder: str) -> Iterator[str]:
        waiting, seen = [folder], {os.path.realpath(self.root / folder)}
        while waiting:
            place = waiting.pop()
            for name, kind in self.entries(place).items():
                path = join(place, name)
                if name.startswith("."):
                    continue
                if kind == "folder" or (kind == "link" and self._leads_to_folder(path)):
                    real = os.path.realpath(self.root / path) if kind == "link" else path
                    if real not in seen:
                        seen.add(real)
                        waiting.append(path)
                else:
                    yield path

    def _leads_to_folder(self, link: str) -> bool:
        """Tell whether a link leads out of the data set to a folder that may be read; one inside is found by itself."""
        place = self.root / link
        return self._behind(link) == "there" and place.is_dir() and not place.resolve().is_relative_to(self.root)

    def _behind(self, link: str) -> State:
        """Return the state of what a link leads to."""
        if not self._inside(link):
            return "outside"
        try:
            mode = os.stat(self.root / link).st_mode
        except OSError:
            return "missing"
        return "there" if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else "special"

    def _inside(self, path: str) -> bool:
        target = Path(os.path.realpath(self.root / path))
        if target.is_relative_to(self.root) or any(map(target.is_relative_to, self._admitted)):
            return True
        self.links[path] = str(target)
        return self.allow_links

    def _listing(self, folder: str) -> dict[str, Kind] | None:
        if folder not in self._listings:
            self._listings[folder] = self._scan(folder)
        return self._listings[folder]

    def _scan(self, folder: str) -> dict[str, Kind] | None:
        if len(folder) > _LONGEST:
            return {}
        try:
            if not self._inside(folder):
                return None
            with os.scandir(self.root / folder) as scan:
                listing = {e.name: "file" if e.is_file(follow_symlinks=False) else _kind(e) for e in scan}
        except (OSError, ValueError):  # no such folder; a name that no file system takes
            return {}
        if FOLDER_MARKER in listing and folder not in ("", "."):
            self.marked.append(folder)
            return {}
        return listing


def _kind(entry: os.DirEntry[str]) -> Kind:
    if entry.is_symlink():
        return "link"
    return "folder" if entry.is_dir(follow_symlinks=False) else "special"


def spellings(path: str) -> Iterator[str]:
    """Yield a path with slashes, and its meaning if it is a URL: %20, Label Studio's ?d=folder/x.jpg, x.jpg?token=7."""
    path = path.strip().replace("\\", "/")
    yield path
    plain = unquote(path.rpartition("?d=")[2], errors="surrogateescape")
    if "://" in plain:
        plain = plain.partition("?")[0]
    if plain != path:
        yield plain


def parts_of(path: str) -> list[str]:
    """Split a path of any system into parts, without anchor, ``.`` and ``..``; empty for an absurd one."""
    if len(path) > _LONGEST:
        return []
    path = path.replace("\\", "/")
    return [part for part in path[2 * (path[1:2] == ":") :].split("/") if part not in ("", ".", "..")]


def join(folder: str, name: str) -> str:
    """Join a folder and a name to a path below the data set's folder."""
    return f"{folder}/{name}" if folder not in ("", ".") else name


def is_absolute(path: str) -> bool:
    """Tell whether a path of any system is absolute."""
    return path.startswith(("/", "\\")) or path[1:2] == ":"


class Strings:
    """A list of strings as one utf-8 blob: workers get it by copying two arrays, for any number of strings."""

    __slots__ = ("blob", "offsets")

    def __init__(self, blob: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        self.blob, self.offsets = blob, offsets

    @classmethod
    def pack(cls, strings: Iterable[str]) -> Strings:
        """Pack any strings; file names that are not valid Unicode survive."""
        strings = list(strings)
        whole = "".join(strings)
        blob = whole.encode("utf-8", "surrogateescape")
        each = strings if whole.isascii() else [text.encode("utf-8", "surrogateescape") for text in strings]
        offsets = np.zeros(len(each) + 1, np.int64)
        np.cumsum(list(map(len, each)), out=offsets[1:])
        return cls(np.frombuffer(blob, np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> str:
        start, stop = self.offsets[index], self.offsets[index + 1]
        return self.blob[start:stop].tobytes().decode("utf-8", "surrogateescape")
