"""ONNX by torch.export: the module's graph with its weights in one model."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import onnx
import torch
from onnx.utils import Extractor
from onnxscript import opset18
from torch import Tensor, nn
from torch.export import Dim
from torch.onnx.errors import OnnxExporterError

from boxwright.data.transforms import BATCH_MULTIPLE
from boxwright.errors import RecipeError

OPSET = 18
op: Any = opset18


def to_onnx(
    module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], *, dynamic: bool
) -> onnx.ModelProto:
    """The model of a module that takes tensors (B, ...) like these, under the names of its arguments.

    ``dynamic``: for any B; else for that of the ``inputs``. Where ``shown`` is one of these, ``images`` (B, H, W, 3)
    may have any sides that are multiples of 32. Raises RecipeError for a module that can't be exported.
    """
    free: dict[str, dict[int, Any]] = {name: {} for name in inputs}
    if "shown" in inputs:
        free["images"] = {1: BATCH_MULTIPLE * Dim("rows", min=1), 2: BATCH_MULTIPLE * Dim("columns", min=1)}
    if dynamic:
        batch = Dim("batch", min=1)
        free = {name: {0: batch, **sides} for name, sides in free.items()}
    try:
        with _quiet():
            program = torch.onnx.export(
                module.eval(),
                tuple(inputs.values()),
                dynamo=True,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=free if any(free.values()) else None,
                custom_translation_table={torch.ops.boxwright.kept_by_nms.default: _kept_by_nms},
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


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the exporter's messages about its internals."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
