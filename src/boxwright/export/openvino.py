"""OpenVINO's two files, model.xml and model.bin: how they are made of ONNX, run on the processor, and made int8."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import onnx
import torch
from numpy.typing import NDArray

from boxwright._util.ownership import MADE_BY
from boxwright._util.untold import untold
from boxwright.export.tracing import quiet
from boxwright.export.verify import Arrays
from boxwright.runtime.backends import openvino_core

with untold():
    import openvino

HINTS = {"INFERENCE_PRECISION_HINT": "f32"}
"""Without it OpenVINO computes in bfloat16 where the processor has that, which moves scores by some hundredths."""
_SETTINGS = ("Constant", "Parameter", "Result")


class OpenVinoGraph(NamedTuple):
    """Content of the two files."""

    xml: bytes
    weights: bytes

    @classmethod
    def of(cls, model: Any) -> OpenVinoGraph:
        """As OpenVINO saves it; the network's name says who made it."""
        model.set_friendly_name(MADE_BY)
        with TemporaryDirectory() as folder:
            file = Path(folder) / "model.xml"
            openvino.save_model(model, file, compress_to_fp16=False)
            return cls(file.read_bytes(), file.with_suffix(".bin").read_bytes())

    def read(self) -> Any:
        """As OpenVINO reads the files."""
        return openvino_core().read_model(self.xml, self.weights)

    def with_outputs(self, outputs: Sequence[str]) -> OpenVinoGraph:
        """Return the part of the graph that leads to these outputs."""
        model = self.read()
        kept = [each for each in model.get_results() if each.output(0).any_name in outputs]
        return self.of(openvino.Model(kept, model.get_parameters()))

    def described(self, metadata: Mapping[str, Any]) -> bytes:
        """Return the metadata as JSON, with the hint by which the model was verified."""
        text = json.dumps({**metadata, "inference": HINTS}, ensure_ascii=False, indent=2)
        return f"{text}\n".encode("utf-8", "backslashreplace")


class OpenVinoSession:
    """A model in memory: arrays by the name of an input -> arrays by the name of an output."""

    def __init__(self, graph: OpenVinoGraph) -> None:
        config = HINTS | {"INFERENCE_NUM_THREADS": torch.get_num_threads()}
        compiled = openvino_core().compile_model(graph.read(), "CPU", config)
        self._used = {given.any_name for given in compiled.inputs}  # OpenVINO drops those without a use
        self._names = [output.any_name for output in compiled.outputs]
        self._request = compiled.create_infer_request()

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Compute all outputs by name."""
        found = self._request.infer({name: values for name, values in inputs.items() if name in self._used})
        return {name: found[name].copy() for name in self._names}  # the next inputs go over them


def to_openvino(model: onnx.ModelProto) -> OpenVinoGraph:
    """Convert an ONNX model to a graph of OpenVINO."""
    return OpenVinoGraph.of(_convert(model))


def quantize(model: onnx.ModelProto, layers: Sequence[str], inputs: Sequence[Arrays]) -> OpenVinoGraph:
    """Convert an ONNX model to a graph in which the layers with these names compute in int8.

    NNCF measures their ranges on ``inputs``, quantizes weights by channel, and corrects biases.
    """
    with untold(), quiet():
        import nncf

    openvino_core()  # before NNCF makes cores of its own and lets them go
    nncf.set_log_level(logging.ERROR)
    converted = _convert(model)
    operations = [each for each in converted.get_ordered_ops() if each.get_type_name() not in _SETTINGS]
    names = [operation.get_friendly_name() for operation in operations]
    floats = [name for name in names if name.removesuffix("/WithoutBiases") not in layers]
    with redirect_stdout(StringIO()):  # its progress
        quantized = nncf.quantize(
            converted,
            nncf.Dataset(inputs),
            subset_size=len(inputs),
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(names=floats, validate=False),
        )
    return OpenVinoGraph.of(quantized)


def _convert(model: onnx.ModelProto) -> Any:
    with TemporaryDirectory() as folder, untold():
        file = Path(folder) / "model.onnx"
        onnx.save(model, file)
        return openvino.convert_model(file)
