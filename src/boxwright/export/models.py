"""The forms of a model file: how each is made, run, and written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from numpy.typing import NDArray
from torch import Tensor, nn

from boxwright.export.suppression import Suppress, by_onnx, by_torchvision
from boxwright.export.verify import Arrays, Model

if TYPE_CHECKING:
    import onnx
    from torch.export import ExportedProgram


class FileModel(ABC):
    """A model in memory: called with arrays by the name of an input, it gives arrays by the name of an output."""

    file: ClassVar[str]
    """The name of its file."""
    suppress: Suppress

    @classmethod
    @abstractmethod
    def make(cls, module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], *, dynamic: bool) -> Self:
        """The model of a module that takes tensors (B, ...) like these and gives a tuple; ``dynamic``: for any B.

        Raises RecipeError for a module that can't be exported.
        """

    @abstractmethod
    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays: ...

    @abstractmethod
    def part_from(self, raw: Sequence[str], outputs: Sequence[str]) -> Model:
        """What makes some outputs of the inputs and of the values of other outputs, the ``raw`` ones."""

    @abstractmethod
    def alone(self, outputs: Sequence[str]) -> Self:
        """The model as it is written, which may give these outputs alone."""

    @abstractmethod
    def to_bytes(self, metadata: Mapping[str, Any]) -> bytes:
        """The file, with JSON by topic."""


class OnnxModel(FileModel):
    """ONNX, as onnxruntime runs it."""

    file = "model.onnx"
    suppress = staticmethod(by_onnx)

    def __init__(self, model: onnx.ModelProto) -> None:
        from boxwright.export.session import Session

        self.model, self._session = model, Session(model)

    @classmethod
    def make(cls, module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], *, dynamic: bool) -> Self:
        from boxwright.export.onnx_graph import to_onnx

        return cls(to_onnx(module, inputs, outputs, dynamic=dynamic))

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        return self._session(inputs)

    def part_from(self, raw: Sequence[str], outputs: Sequence[str]) -> Model:
        from boxwright.export.onnx_graph import between
        from boxwright.export.session import Session

        inputs = [each.name for each in self.model.graph.input]
        return Session(between(self.model, [*inputs, *raw], outputs))

    def alone(self, outputs: Sequence[str]) -> Self:
        given = self.model.graph.output
        kept = [each for each in given if each.name in outputs]
        del given[:]
        given.extend(kept)
        return type(self)(self.model)

    def to_bytes(self, metadata: Mapping[str, Any]) -> bytes:
        from boxwright.export.metadata import put

        put(self.model, metadata)
        content: bytes = self.model.SerializeToString()
        return content


class TorchModel(FileModel):
    """torch.export's own file, as torch runs it, with torchvision's operators where it needs them."""

    file = "model.pt2"
    suppress = staticmethod(by_torchvision)

    def __init__(self, program: ExportedProgram, outputs: Sequence[str]) -> None:
        from boxwright.export.torch_graph import reread

        self.program, self.outputs = program, outputs
        self._module = reread(program)

    @classmethod
    def make(cls, module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], *, dynamic: bool) -> Self:
        from boxwright.export.torch_graph import to_program

        return cls(to_program(module, inputs, outputs, dynamic=dynamic), outputs)

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        from boxwright.export.torch_graph import run

        return run(self._module, inputs)

    def part_from(self, raw: Sequence[str], outputs: Sequence[str]) -> Model:
        from boxwright.export.torch_graph import run_from

        return lambda values: run_from(self._module, self.outputs, raw, values)

    def alone(self, outputs: Sequence[str]) -> Self:
        """All of them: what the detections were chosen from costs nothing."""
        return self

    def to_bytes(self, metadata: Mapping[str, Any]) -> bytes:
        from boxwright.export.torch_graph import saved

        return saved(self.program, metadata)


MODELS: dict[str, type[FileModel]] = {"onnx": OnnxModel, "torch": TorchModel}
