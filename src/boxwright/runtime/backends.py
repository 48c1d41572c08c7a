"""Model files as programs run them: names and arrays in, arrays out, and what the file says of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from boxwright.environment import usable_cores
from boxwright.errors import RecipeError

TOPICS = ("classes", "input", "thresholds", "nms")
"""Of the metadata, without which no prediction is made."""
Arrays = Mapping[str, NDArray[Any]]


class Backend(Protocol):
    """A model file in memory."""

    metadata: dict[str, Any]
    """What the file says of itself, by topic."""
    files: tuple[Path, ...]
    """What it was read from."""
    batch: int | None
    """Inputs at a time that it takes; None: any number."""

    def run(self, inputs: Arrays, outputs: Sequence[str]) -> list[NDArray[Any]]:
        """Compute ``outputs``, values of the graph by name, of some inputs."""
        ...


def is_model_file(path: Path) -> bool:
    """Whether a path is, by its name, an ONNX file."""
    return path.suffix == ".onnx" and path.is_file()


def open_backend(path: str | Path, threads: int | None = None) -> Backend:
    """Open a ``.onnx`` file with onnxruntime. ``threads``: that compute; None: as many as there are cores.

    Raises RecipeError for a file that isn't there, is damaged, wasn't made by ``boxwright export``, or needs a package
    that isn't installed.
    """
    path = Path(path)
    if not path.exists():
        raise RecipeError(f"no model at {path}")
    if not is_model_file(path):
        raise RecipeError(f"{path} is no model file: expected model.onnx, as boxwright export writes it")
    return OnnxBackend(path, threads or usable_cores())


class OnnxBackend:
    """An ONNX file as onnxruntime runs it on the processor."""

    def __init__(self, path: Path, threads: int) -> None:
        self.files: tuple[Path, ...] = (path,)
        self._threads = threads
        self._session = self._open(path.read_bytes())
        self.metadata = _parsed(self._session.get_modelmeta().custom_metadata_map, path)
        self._outputs = {output.name for output in self._session.get_outputs()}
        size = self._session.get_inputs()[0].shape[0]
        self.batch = size if isinstance(size, int) else None

    def run(self, inputs: Arrays, outputs: Sequence[str]) -> list[NDArray[Any]]:
        """Compute any values of the graph, those that it doesn't give out as well."""
        inner = [name for name in outputs if name not in self._outputs]
        if inner:
            self._session = self._open(self.files[0].read_bytes() + _with_outputs(inner))
            self._outputs.update(inner)
        found: list[NDArray[Any]] = self._session.run(list(outputs), dict(inputs))
        return found

    def _open(self, content: bytes) -> Any:
        try:
            runtime = import_module("onnxruntime")
        except ImportError:
            raise RecipeError(f"{self.files[0]} needs onnxruntime: pip install onnxruntime") from None
        options = runtime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3  # errors
        try:
            return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a class for each kind of its own, with no base in common
            reason = str(error).splitlines()[0]
            raise RecipeError(f"{self.files[0]}: onnxruntime can't open it ({reason})") from None


def _with_outputs(names: Sequence[str]) -> bytes:
    """What behind an ONNX model's bytes makes its graph give out these inner values too.

    Bytes of Protocol Buffers that follow one another are one message, whose repeated fields are joined: these are
    ModelProto.graph (7) with GraphProto.output (12), each a ValueInfoProto of a name (1) alone (onnx.proto).
    """
    return _field(7, b"".join(_field(12, _field(1, name.encode())) for name in names))


def _field(number: int, content: bytes) -> bytes:
    """A field of a message, with its length before it."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; a further bit says that more follow."""
    head, rest = value & 127, value >> 7
    return bytes([head | 128]) + _varint(rest) if rest else bytes([head])


def _parsed(texts: Mapping[str, str], path: Path) -> dict[str, Any]:
    """Metadata by topic. Raises RecipeError for a model that boxwright didn't export."""
    try:
        found = {topic: json.loads(texts[topic]) for topic in TOPICS}
    except (KeyError, ValueError):
        raise RecipeError(f"{path} doesn't say how to use it: expected a model that boxwright export wrote") from None
    return {topic: json.loads(text) for topic, text in texts.items()} | found
