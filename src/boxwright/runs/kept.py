"""Detections kept in a file image by image, so that an interrupted command continues where it stopped."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import torch

from boxwright._util.locking import locked
from boxwright._util.ownership import GENERATOR
from boxwright._util.writing import write_errors
from boxwright.errors import BoxwrightWarning
from boxwright.models.detector import Detector
from boxwright.runs.exported import ExportedModel
from boxwright.runs.weights import hash_of
from boxwright.text import plural
from boxwright.types import Detections

Say = Callable[[str], None]


def path_beside(results: Path) -> Path:
    """Return the file that keeps the detections until ``results`` is written."""
    return results.with_suffix(".part.jsonl")


class KeptDetections:
    """Detections of images in order: the first line describes the work, each other one is an image's, or its fault."""

    def __init__(self, path: Path, file: BinaryIO, done: int, last: dict[str, Any] | None = None) -> None:
        self.path, self.file = path, file
        self.done = done
        """Images whose lines are there."""
        self.last = last
        """Facts kept with the last of them; None if there is none."""

    def append(self, found: Detections | str, about: dict[str, Any] | None = None) -> None:
        """Keep the next image's detections, or what is wrong with it, and what it is. Raises WriteError."""
        line: dict[str, Any] = {"fault": found}
        if not isinstance(found, str):
            line = {name: values.tolist() for name, values in found._asdict().items()}
        with write_errors(self.path):
            self.file.write(_line(line if about is None else {**line, "about": about}))
            self.file.flush()
        self.done += 1

    def __iter__(self) -> Iterator[Detections | str]:
        """Read them all back, one at a time."""
        return (found for _, found in self.lines())

    def lines(self) -> Iterator[tuple[dict[str, Any], Detections | str]]:
        """Read them all back, one at a time, with what each is said to be."""
        with self.path.open("rb") as file:
            next(file)
            yield from map(_read, file)


@contextmanager
def keep_detections(path: Path, work: dict[str, Any], images: int | None, say: Say) -> Iterator[KeptDetections]:
    """Open what an interrupted command kept of the same ``work``, or begin anew; the file goes when the block is done.

    ``images``: how many there are, None where nobody knows.
    It stays where the block fails or is interrupted. A last line that is torn is dropped; what is of other work is
    replaced, with a BoxwrightWarning. Raises WriteError, and RecipeError where another process is at it.
    """
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_suffix(".lock")
    with locked(lock):
        try:
            kept = _open(path, {"generator": GENERATOR, **work})
            if kept.done:
                say(f"going on after the first {_of(kept.done, images)}")
            with kept.file, _telling(kept, images, say):
                yield kept
            path.unlink()
        finally:
            with suppress(OSError):  # Windows keeps what is open
                lock.unlink()


@contextmanager
def _telling(kept: KeptDetections, images: int | None, say: Say) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        say(f"stopped after {_of(kept.done, images)}: the same command goes on there")
        raise


def _of(done: int, images: int | None) -> str:
    return plural(done, "image") if images is None else f"{done} of {plural(images, 'image')}"


def is_unfinished(path: Path, work: dict[str, Any]) -> bool:
    """Tell whether ``path`` keeps the results of an interrupted command that did the same ``work``."""
    try:
        with path.open("rb") as file:
            return bool(json.loads(file.readline()) == {"generator": GENERATOR, **work})
    except (OSError, ValueError):
        return False


def work_of(
    detector: Detector | ExportedModel, files: Iterable[Path], score: float | Sequence[float]
) -> dict[str, Any]:
    """Describe what detections depend on: scores, and digests of model, recipe and files (name, size, time)."""
    return {
        "model": detector.digest() if isinstance(detector, ExportedModel) else hash_of(detector.state_dict()),
        "recipe": _digest(sorted(detector.recipe.to_dict().items())),
        "score": list(score) if isinstance(score, Sequence) else score,
        "images": _digest(map(_identity, files)),
    }


def _digest(parts: Iterable[Any]) -> str:
    digest = sha256()
    for part in parts:
        digest.update(repr(part).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()


def _identity(file: Path) -> tuple[str, int, int]:
    try:
        found = file.stat()
    except OSError:
        return str(file), 0, 0
    return str(file), found.st_size, found.st_mtime_ns


def _open(path: Path, work: dict[str, Any]) -> KeptDetections:
    with write_errors(path):
        done, end, last = _intact(path, work)
        file = path.open("rb+" if end else "wb")
        file.truncate(end)
        file.seek(end)
        if not end:
            file.write(_line(work))
            file.flush()
        return KeptDetections(path, file, done, last)


def _intact(path: Path, work: dict[str, Any]) -> tuple[int, int, dict[str, Any] | None]:
    """Count the images of the same work whose lines are whole, and the bytes up to their end; 0 for other work.

    Third is what the last of them is said to be.
    """
    if not path.is_file():
        return 0, 0, None
    with path.open("rb") as file:
        head = file.readline()
        try:
            kept = json.loads(head)
        except ValueError:
            kept = None
        if kept != work:
            others = [key for key in work if isinstance(kept, dict) and kept.get(key) != work[key]]
            text = f"{path} keeps what was found with another {' and '.join(others) or 'command'}: starting anew"
            warnings.warn(text, BoxwrightWarning, stacklevel=2)
            return 0, 0, None
        done, end = 0, len(head)
        last: dict[str, Any] | None = None
        for line in file:
            try:
                last, _ = _read(line)
            except (ValueError, KeyError, TypeError, AttributeError):
                break
            done, end = done + 1, end + len(line)
        return done, end, last


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def _read(line: bytes) -> tuple[dict[str, Any], Detections | str]:
    if not line.endswith(b"\n"):
        raise ValueError("a torn line")
    content = json.loads(line)
    about = content.get("about", {})
    if "fault" in content:
        return about, str(content["fault"])
    boxes = torch.tensor(content["boxes"], dtype=torch.float32).reshape(-1, 4)
    labels = torch.tensor(content["labels"], dtype=torch.int64)
    return about, Detections(boxes, torch.tensor(content["scores"], dtype=torch.float32), labels)
