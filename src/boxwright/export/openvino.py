"""Models as OpenVINO's folders: model.xml, model.bin and metadata.json."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping, Sequence
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
from boxwright.export.verify import Arrays, Model

with untold():
    import openvino

HINTS = {"INFERENCE_PRECISION_HINT": "f32"}
"""Without it OpenVINO computes in bfloat16 where the processor has that, which moves scores by some hundredths."""
_SETTINGS = ("Constant", "Parameter", "Result")


class Graph(NamedTuple):
    """What stands in the two files."""

    xml: bytes
    weights: bytes

    @classmethod
    def of(cls, model: Any) -> Graph:
        """As OpenVINO saves it; the network's name says who made it."""
        model.set_friendly_name(MADE_BY)
        with TemporaryDirectory() as folder:
            file = Path(folder) / "model.xml"
            openvino.save_model(model, file, compress_to_fp16=False)
            return cls(file.read_bytes(), file.with_suffix(".bin").read_bytes())

    def read(self) -> Any:
        """As OpenVINO reads the files."""
        return openvino.Core().read_model(self.xml, self.weights)


class OpenVinoSession:
    """A model in memory: arrays by the name of an input -> arrays by the name of an output."""

    def __init__(self, graph: Graph, threads: int | None = None) -> None:
        config = HINTS | {"INFERENCE_NUM_THREADS": threads or torch.get_num_threads()}
        compiled = openvino.Core().compile_model(graph.read(), "CPU", config)
        self._names = [output.any_name for output in compiled.outputs]
        self._request = compiled.create_infer_request()

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """All outputs of some inputs."""
        found = self._request.infer(dict(inputs))
        return {name: found[name].copy() for name in self._names}  # the next inputs go over them


class OpenVinoForm:
    """A folder, as OpenVINO takes it."""

    def paths(self, int8: bool) -> tuple[Path, ...]:
        """The network, what it says of itself, and its weights."""
        folder = Path("openvino-int8" if int8 else "openvino")
        return folder / "model.xml", folder / "metadata.json", folder / "model.bin"

    def make(self, model: onnx.ModelProto) -> Graph:
        """Convert it."""
        return Graph.of(_convert(model))

    def quantize(self, model: onnx.ModelProto, layers: Collection[str], inputs: Sequence[Arrays]) -> Graph:
        """By NNCF: weights and what flows in 8 bits, weights by channel, biases corrected."""
        with untold():
            import nncf

        nncf.set_log_level(logging.ERROR)
        converted, kept = _convert(model), set(layers)
        names = [
            each.get_friendly_name() for each in converted.get_ordered_ops() if each.get_type_name() not in _SETTINGS
        ]
        floats = [name for name in names if name.removesuffix("/WithoutBiases") not in kept]
        with redirect_stdout(StringIO()):  # its progress
            quantized = nncf.quantize(
                converted,
                nncf.Dataset(inputs),
                subset_size=len(inputs),
                preset=nncf.QuantizationPreset.MIXED,
                ignored_scope=nncf.IgnoredScope(names=floats, validate=False),
            )
        return Graph.of(quantized)

    def cut(self, graph: Graph, outputs: int) -> Graph:
        """Without the other results, and what leads to them alone."""
        model = graph.read()
        return Graph.of(openvino.Model(model.get_results()[:outputs], model.get_parameters()))

    def open(self, graph: Graph, threads: int | None = None) -> Model:
        """Compile it."""
        return OpenVinoSession(graph, threads)

    def files(self, graph: Graph, content: Mapping[str, Any]) -> tuple[bytes, ...]:
        """The metadata says by which hint the model was verified."""
        metadata = json.dumps({**content, "inference": HINTS}, ensure_ascii=False, indent=2) + "\n"
        return graph.xml, metadata.encode("utf-8", "backslashreplace"), graph.weights


def _convert(model: onnx.ModelProto) -> Any:
    with TemporaryDirectory() as folder, untold():
        file = Path(folder) / "model.onnx"
        onnx.save(model, file)
        return openvino.convert_model(file)
