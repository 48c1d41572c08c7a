"""ONNX by torch.export: the module's graph with its weights in one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import torch
from onnx.utils import Extractor
from onnxscript import opset18
from torch import Tensor, nn
from torch.onnx.errors import OnnxExporterError

from boxwright.errors import RecipeError
from boxwright.export.tracing import free_sizes, quiet
from boxwright.export.verify import Arrays

OPSET = 18
op: Any = opset18


def to_onnx(
    module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], *, dynamic: bool
) -> onnx.ModelProto:
    """Convert a module that takes tensors (B, ...) like these, named as its arguments are.

    ``dynamic``: for any B; else for that of the ``inputs``. Where ``valid_size`` is one of these, ``images``
    (B, H, W, 3) may have any sides that are multiples of 32. Raises RecipeError for a module that can't be exported.
    """
    try:
        with quiet():
            program = torch.onnx.export(
                module.eval(),
                tuple(inputs.values()),
                dynamo=True,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=free_sizes(inputs, dynamic=dynamic),
                custom_translation_table={
                    torch.ops.boxwright.kept_by_nms.default: _kept_by_nms,
                    torch.ops.aten.matmul.default: _matmul,
                },
                verbose=False,
            )
    except OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise RecipeError(f"torch can't export this network as ONNX: {reason}") from error
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    return model


def between(model: onnx.ModelProto, inputs: Sequence[str], outputs: Sequence[str]) -> onnx.ModelProto:
    """Extract the part of a model that computes some values from others."""
    part: onnx.ModelProto = Extractor(model).extract_model(list(inputs), list(outputs))
    return part


def with_outputs(model: onnx.ModelProto, outputs: Sequence[str]) -> onnx.ModelProto:
    """Return a copy with only these outputs."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    kept = [each for each in model.graph.output if each.name in outputs]
    del part.graph.output[:]
    part.graph.output.extend(kept)
    return part


def quantize(model: onnx.ModelProto, layers: Sequence[str], inputs: Sequence[Arrays]) -> onnx.ModelProto:
    """Compute the layers with these names in int8, with ranges measured on ``inputs``.

    Weights are int8 by channel, and what flows is uint8: the pair that VNNI multiplies.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    given = onnx.ModelProto()
    given.CopyFrom(model)
    with TemporaryDirectory() as folder, quiet():
        file = Path(folder) / "int8.onnx"
        quantize_static(
            given,
            file,
            _Inputs(inputs),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=list(layers),
        )
        return onnx.load(file)


class _Inputs:
    """Inputs one after another, as onnxruntime asks for them."""

    def __init__(self, inputs: Sequence[Arrays]) -> None:
        self._rest = iter(inputs)

    def get_next(self) -> Arrays | None:
        return next(self._rest, None)


def _kept_by_nms(boxes: Any, scores: Any, iou: float) -> Any:
    """Apply ONNX's own operator, which lists (image, column, box) of what stays, as a mask (B, n)."""
    every = op.Shape(scores, start=2, end=3)
    none, limit = op.Constant(value_floats=[0.0]), op.Constant(value_floats=[iou])
    kept = op.NonMaxSuppression(boxes, scores, every, limit, none)
    places = op.Gather(kept, op.Constant(value_ints=[0, 2]), axis=1)
    shape = op.Shape(boxes, start=0, end=2)
    zeros = op.Expand(op.Constant(value_int=0), shape)
    ones = op.Expand(op.Constant(value_int=1), op.Shape(kept, start=0, end=1))
    return op.Cast(op.ScatterND(zeros, places, ones), to=onnx.TensorProto.BOOL)


def _matmul(self: Any, other: Any) -> Any:
    """Multiply matrices; a vector on the right as a column, which onnxruntime does in a fifth of the time."""
    if len(other.shape) > 1:
        return op.MatMul(self, other)
    last = op.Constant(value_ints=[-1])
    return op.Squeeze(op.MatMul(self, op.Unsqueeze(other, last)), last)
