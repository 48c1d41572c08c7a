"""The kinds of files that a graph is written as, and how each is run and computed in int8."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Protocol, get_args

import onnx

from boxwright.errors import RecipeError
from boxwright.export.metadata import put
from boxwright.export.onnx_graph import quiet
from boxwright.export.session import Session
from boxwright.export.verify import Arrays, Model

Format = Literal["onnx", "openvino"]
Graph = Any
"""What a form keeps a graph in."""


class Form(Protocol):
    """One kind of files. Graphs come from ONNX, and are opened from what is written, not from what it was made of."""

    def paths(self, int8: bool) -> tuple[Path, ...]:
        """The files below the folder that people name, the one that programs open first."""

    def make(self, model: onnx.ModelProto) -> Graph:
        """The graph of an ONNX model."""

    def quantize(self, model: onnx.ModelProto, layers: Collection[str], inputs: Sequence[Arrays]) -> Graph:
        """The graph of an ONNX model whose ``layers``, names of nodes, compute in int8 in the ranges that they have on
        these inputs."""

    def cut(self, graph: Graph, outputs: int) -> Graph:
        """The graph with the first outputs alone."""

    def open(self, graph: Graph, threads: int | None = None) -> Model:
        """Ready to run on the processor."""

    def files(self, graph: Graph, content: Mapping[str, Any]) -> tuple[bytes, ...]:
        """What stands in the files, in the order of ``paths``; ``content``: the metadata by topic."""


class OnnxForm:
    """One file, as onnxruntime takes it."""

    def paths(self, int8: bool) -> tuple[Path, ...]:
        """The one file."""
        return (Path("model-int8.onnx" if int8 else "model.onnx"),)

    def make(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """The model itself."""
        return model

    def quantize(self, model: onnx.ModelProto, layers: Collection[str], inputs: Sequence[Arrays]) -> onnx.ModelProto:
        """By pairs of QuantizeLinear and DequantizeLinear: weights int8 by channel, what flows uint8, the pair that
        every processor's VNNI multiplies."""
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

        with TemporaryDirectory() as folder, quiet():
            file = Path(folder) / "int8.onnx"
            quantize_static(
                _copy(model),
                file,
                _Inputs(inputs),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_quantize=list(layers),
            )
            return onnx.load(file)

    def cut(self, graph: onnx.ModelProto, outputs: int) -> onnx.ModelProto:
        """Without the other outputs, whose nodes the first ones need."""
        part = _copy(graph)
        del part.graph.output[outputs:]
        return part

    def open(self, graph: onnx.ModelProto, threads: int | None = None) -> Model:
        """Load it."""
        return Session(graph, threads)

    def files(self, graph: onnx.ModelProto, content: Mapping[str, Any]) -> tuple[bytes, ...]:
        """With the metadata in the model's own properties."""
        described = _copy(graph)
        put(described, content)
        return (described.SerializeToString(),)


class _Inputs:
    """Inputs one after another, as onnxruntime asks for them."""

    def __init__(self, inputs: Sequence[Arrays]) -> None:
        self._rest = iter(inputs)

    def get_next(self) -> Arrays | None:
        return next(self._rest, None)


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def form_of(name: Format) -> Form:
    """The form of this name. OpenVINO is imported only where it is asked for. Raises RecipeError for another name."""
    if name not in get_args(Format):
        raise RecipeError(f"Expected a form out of {get_args(Format)} but got {name!r}")
    if name == "onnx":
        return OnnxForm()
    from boxwright.export.openvino import OpenVinoForm

    return OpenVinoForm()
