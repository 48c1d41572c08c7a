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
from boxwright.runs.weights import hash_of
from boxwright.text import plural
from boxwright.types import Detections

Say = Callable[[str], None]


def path_beside(results: Path) -> Path:
    """Return the file that keeps the detections until ``results`` is written."""
    return results.with_suffix(".part.jsonl")


class KeptDetections:
    """Detections of images in order: the first line describes the work, each other one is an image's, or its fault."""

    def __init__(self, path: Path, file: BinaryIO, done: int) -> None:
        self.path, self.file = path, file
        self.done = done
        """Images whose lines are there."""

    def append(self, found: Detections | str) -> None:
        """Keep the next image's detections, or what is wrong with it. Raises WriteError."""
        line: dict[str, Any] = {"fault": found}
        if not isinstance(found, str):
            line = {name: values.tolist() for name, values in found._asdict().items()}
        with write_errors(self.path):
            self.file.write(_line(line))
            self.file.flush()
        self.done += 1

    def __iter__(self) -> Iterator[Detections | str]:
        """Read them all back, one at a time."""
        with self.path.open("rb") as file:
            next(file)
            yield from map(_read, file)


@contextmanager
def keep_detections(path: Path, work: dict[str, Any], images: int, say: Say) -> Iterator[KeptDetections]:
    """Open what an interrupted command kept of the same ``work``, or begin anew; the file goes when the block is done.

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
                say(f"going on after the first {kept.done} of {plural(images, 'image')}")
            with kept.file, _telling(kept, images, say):
                yield kept
            path.unlink()
        finally:
            with suppress(OSError):  # Windows keeps what is open
                lock.unlink()


@contextmanager
def _telling(kept: KeptDetections, images: int, say: Say) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        say(f"stopped after {kept.done} of {plural(images, 'image')}: the same command goes on there")
        raise


def work_of(detector: Detector, files: Iterable[Path], score: float | Sequence[float]) -> dict[str, Any]:
    """Describe what detections depend on: scores, and digests of model, recipe and files (name, size, time)."""
    return {
        "model": hash_of(detector.state_dict()),
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
        done, end = _intact(path, work) if path.is_file() else (0, 0)
        file = path.open("rb+" if end else "wb")
        file.truncate(end)
        file.seek(end)
        if not end:
            file.write(_line(work))
            file.flush()
        return KeptDetections(path, file, done)


def _intact(path: Path, work: dict[str, Any]) -> tuple[int, int]:
    """Count the images of the same work whose lines are whole, and the bytes up to their end; 0 for other work."""
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
            return 0, 0
        done, end = 0, len(head)
        for line in file:
            try:
                _read(line)
            except (ValueError, KeyError, TypeError):
                break
            done, end = done + 1, end + len(line)
        return done, end


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def _read(line: bytes) -> Detections | str:
    if not line.endswith(b"\n"):
        raise ValueError("a torn line")
    content = json.loads(line)
    if "fault" in content:
        return str(content["fault"])
    boxes = torch.tensor(content["boxes"], dtype=torch.float32).reshape(-1, 4)
    labels = torch.tensor(content["labels"], dtype=torch.int64)
    return Detections(boxes, torch.tensor(content["scores"], dtype=torch.float32), labels)
