"""Model files as programs run them: names and arrays in, arrays out, and what the file says of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from boxwright._util.untold import untold
from boxwright.environment import usable_cores
from boxwright.errors import RecipeError

Arrays = Mapping[str, NDArray[Any]]


class Backend(Protocol):
    """A model file in memory."""

    metadata: dict[str, Any]
    """The file's metadata, by topic."""
    files: tuple[Path, ...]
    """Files that it was read from, the model first."""
    batch: int | None
    """Inputs at a time that it takes; None: any number."""

    def run(self, inputs: Arrays, outputs: Sequence[str]) -> list[NDArray[Any]]:
        """Compute values of the graph by name, inner ones too.

        Raises:
            RecipeError: If the graph has no value of that name.
        """
        ...


def is_model_file(path: Path) -> bool:
    """Tell whether a path names an ONNX file or a folder with OpenVINO's files."""
    return (path.suffix == ".onnx" and path.is_file()) or (path / OpenVinoBackend.XML).is_file()


def open_backend(path: str | Path, threads: int | None = None) -> Backend:
    """Open an ONNX file by onnxruntime, a folder by OpenVINO. ``threads``: that compute; None: as many as cores.

    Raises RecipeError for what isn't there, is damaged, wasn't made by ``boxwright export``, or needs a package that
    isn't installed.
    """
    path = Path(path)
    if not path.exists():
        raise RecipeError(f"no model at {path}")
    if not is_model_file(path):
        raise RecipeError(f"{path} is no model: expected what boxwright export writes, model.onnx or a folder")
    backend = OpenVinoBackend if path.is_dir() else OnnxBackend
    return backend(path, threads or usable_cores())


class OnnxBackend:
    """An ONNX file as onnxruntime runs it on the processor."""

    def __init__(self, path: Path, threads: int) -> None:
        self.files: tuple[Path, ...] = (path,)
        self._runtime, self._threads = _imported("onnxruntime", path), threads
        self._session = self._open(path.read_bytes())
        texts = self._session.get_modelmeta().custom_metadata_map
        self.metadata = {topic: _parsed(text, path) for topic, text in texts.items()}
        self._outputs = {output.name for output in self._session.get_outputs()}
        size = self._session.get_inputs()[0].shape[0]
        self.batch = size if isinstance(size, int) else None

    def run(self, inputs: Arrays, outputs: Sequence[str]) -> list[NDArray[Any]]:
        """Compute values of the graph by name; inner ones are made outputs first."""
        inner = [name for name in outputs if name not in self._outputs]
        if inner:
            self._session = self._open(self.files[0].read_bytes() + _with_outputs(inner))
            self._outputs.update(inner)
        found: list[NDArray[Any]] = self._session.run(list(outputs), dict(inputs))
        return found

    def _open(self, content: bytes) -> Any:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3  # errors
        try:
            return self._runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a class for each kind of its own, with no base in common
            raise _unusable(self.files[0], error) from None


def _with_outputs(names: Sequence[str]) -> bytes:
    """Encode what has to follow an ONNX model's bytes to make inner values outputs of the graph.

    Bytes of Protocol Buffers that follow one another are one message, whose repeated fields are joined: these are
    ModelProto.graph (7) with GraphProto.output (12), each a ValueInfoProto of a name (1) alone (onnx.proto).
    """
    return _field(7, b"".join(_field(12, _field(1, name.encode())) for name in names))


def _field(number: int, content: bytes) -> bytes:
    """Encode a field of a message: its tag, its length (below 128), its content."""
    return bytes([number << 3 | 2, len(content)]) + content


@cache
def openvino_core() -> Any:
    """Return the one core of OpenVINO that this process has, with the processor's plugin, and never lets go of.

    The plugin gives the process another stack for its signal handlers, large enough for AMX; one that goes frees it and
    puts nothing in its place, so that the next signal that is handled would end the process.
    """
    from openvino import Core

    core = Core()
    core.get_property("CPU", "FULL_DEVICE_NAME")  # loads the plugin
    return core


class OpenVinoBackend:
    """A folder with model.xml, model.bin and metadata.json as OpenVINO runs it on the processor."""

    XML = "model.xml"

    def __init__(self, folder: Path, threads: int) -> None:
        self.files: tuple[Path, ...] = tuple(folder / name for name in (self.XML, "model.bin", "metadata.json"))
        _imported("openvino", folder)
        try:
            self.metadata: dict[str, Any] = _parsed(self.files[2].read_text(encoding="utf-8"), self.files[2])
            self._model = openvino_core().read_model(self.files[0], self.files[1])
        except (RuntimeError, OSError) as error:
            raise _unusable(folder, error) from None
        hints = self.metadata.get("inference", {})  # by which it was verified
        self._settings = {**hints, "INFERENCE_NUM_THREADS": threads}
        self._request = self._compiled()
        size = self._model.inputs[0].partial_shape[0]
        self.batch = None if size.is_dynamic else size.get_length()

    def run(self, inputs: Arrays, outputs: Sequence[str]) -> list[NDArray[Any]]:
        """Compute values of the graph by name; inner ones are made outputs first."""
        given = {name for output in self._model.outputs for name in output.names}
        inner = [name for name in outputs if name not in given]
        if inner:
            try:
                self._model.add_outputs(inner)
            except RuntimeError as error:
                raise _unusable(self.files[0], error) from None
            self._request = self._compiled()
        found = self._request.infer(dict(inputs))
        return [found[name].copy() for name in outputs]  # the next inputs go over them

    def _compiled(self) -> Any:
        return openvino_core().compile_model(self._model, "CPU", self._settings).create_infer_request()


def _imported(package: str, path: Path) -> Any:
    try:
        with untold():
            return import_module(package)
    except ImportError:
        raise RecipeError(f"{path} needs {package}: pip install {package}") from None


def _parsed(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise RecipeError(f"{path} has metadata that boxwright export didn't write") from None


def _unusable(path: Path, error: Exception) -> RecipeError:
    reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return RecipeError(f"{path} can't be used: {reason.strip()}")
