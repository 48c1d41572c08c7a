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

    from boxwright.export.openvino import OpenVinoGraph


class FileModel(ABC):
    """A model in memory: it takes arrays by input name and returns arrays by output name."""

    file: ClassVar[str]
    """The name of its file, or of the one in its folder that programs open."""
    beside: ClassVar[tuple[str, ...]] = ()
    """The names of the other files."""
    suppress: Suppress

    @classmethod
    @abstractmethod
    def make(cls, module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], *, dynamic: bool) -> Self:
        """Convert a module that takes tensors (B, ...) like ``inputs`` and returns a tuple; ``dynamic``: for any B.

        Raises:
            RecipeError: If the module can't be exported.
        """

    @abstractmethod
    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Compute the outputs by name."""

    @abstractmethod
    def part_from(self, raw: Sequence[str], outputs: Sequence[str]) -> Model:
        """Return the part of the model that computes ``outputs`` from the inputs and the outputs named ``raw``."""

    @abstractmethod
    def alone(self, outputs: Sequence[str]) -> Self:
        """Return the model as it is written to a file, which may give only these outputs."""

    @abstractmethod
    def contents(self, metadata: Mapping[str, Any]) -> tuple[bytes, ...]:
        """Return the bytes of ``file`` and of those ``beside`` it, with the metadata as JSON by topic."""


class QuantizableModel(FileModel):
    """A model that is made of an ONNX model, and whose network can compute in int8."""

    suppress = staticmethod(by_onnx)
    model: onnx.ModelProto
    """The network as ONNX."""
    _session: Model

    @abstractmethod
    def __init__(self, model: onnx.ModelProto) -> None:
        """Prepare to run an ONNX model."""

    @classmethod
    def make(cls, module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], *, dynamic: bool) -> Self:
        """Convert a module to ONNX, and that to this form."""
        from boxwright.export.onnx_graph import to_onnx

        return cls(to_onnx(module, inputs, outputs, dynamic=dynamic))

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Compute the outputs by name."""
        return self._session(inputs)

    def part_from(self, raw: Sequence[str], outputs: Sequence[str]) -> Model:
        """Cut the graph at ``raw``, and return the part behind it."""
        from boxwright.export.onnx_graph import between

        inputs = [each.name for each in self.model.graph.input]
        return type(self)(between(self.model, [*inputs, *raw], outputs))

    @abstractmethod
    def in_int8(self, layers: Sequence[str], inputs: Sequence[Arrays]) -> Self:
        """Compute the layers with these names in int8, with ranges measured on ``inputs``."""


class OnnxModel(QuantizableModel):
    """ONNX, as onnxruntime runs it."""

    file = "model.onnx"

    def __init__(self, model: onnx.ModelProto) -> None:
        from boxwright.export.session import Session

        self.model, self._session = model, Session(model)

    def alone(self, outputs: Sequence[str]) -> Self:
        """Keep only these outputs."""
        from boxwright.export.onnx_graph import with_outputs

        return type(self)(with_outputs(self.model, outputs))

    def contents(self, metadata: Mapping[str, Any]) -> tuple[bytes, ...]:
        """Put the metadata into the model, and return its bytes."""
        from boxwright.export.metadata import put

        put(self.model, metadata)
        return (self.model.SerializeToString(),)

    def in_int8(self, layers: Sequence[str], inputs: Sequence[Arrays]) -> Self:
        """Quantize by onnxruntime."""
        from boxwright.export.onnx_graph import quantize

        return type(self)(quantize(self.model, layers, inputs))


class OpenVinoModel(QuantizableModel):
    """A folder that OpenVINO reads, converted from ONNX."""

    file = "openvino/model.xml"
    beside = ("openvino/metadata.json", "openvino/model.bin")

    def __init__(self, model: onnx.ModelProto, graph: OpenVinoGraph | None = None) -> None:
        from boxwright.export.openvino import OpenVinoSession, to_openvino

        self.model, self.graph = model, graph or to_openvino(model)
        self._session = OpenVinoSession(self.graph)

    def alone(self, outputs: Sequence[str]) -> Self:
        """Keep only these outputs."""
        return type(self)(self.model, self.graph.with_outputs(outputs))

    def contents(self, metadata: Mapping[str, Any]) -> tuple[bytes, ...]:
        """Return the graph's XML, the metadata, and the weights."""
        return self.graph.xml, self.graph.described(metadata), self.graph.weights

    def in_int8(self, layers: Sequence[str], inputs: Sequence[Arrays]) -> Self:
        """Quantize by NNCF."""
        from boxwright.export.openvino import quantize

        return type(self)(self.model, quantize(self.model, layers, inputs))


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
        """Export a module by torch.export."""
        from boxwright.export.torch_graph import to_program

        return cls(to_program(module, inputs, outputs, dynamic=dynamic), outputs)

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Compute the outputs by name."""
        from boxwright.export.torch_graph import run

        return run(self._module, inputs)

    def part_from(self, raw: Sequence[str], outputs: Sequence[str]) -> Model:
        """Return a function that runs only the operators after ``raw``."""
        from boxwright.export.torch_graph import run_from

        return lambda values: run_from(self._module, self.outputs, raw, values)

    def alone(self, outputs: Sequence[str]) -> Self:
        """Return the model itself: the values that detections were chosen from cost nothing."""
        return self

    def contents(self, metadata: Mapping[str, Any]) -> tuple[bytes, ...]:
        """Return the program's bytes, with the metadata inside."""
        from boxwright.export.torch_graph import saved

        return (saved(self.program, metadata),)


MODELS: dict[str, type[FileModel]] = {"onnx": OnnxModel, "openvino": OpenVinoModel, "torch": TorchModel}
