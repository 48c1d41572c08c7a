"""A model file by torch.export, which torch alone loads and runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from boxwright.errors import RecipeError
from boxwright.export.tracing import free_sizes, quiet

METADATA = "boxwright.json"
"""The extra file that says what the model is."""


class _Named(nn.Module):
    """The outputs of a module by name: a tuple of a type of ours couldn't be loaded without it."""

    def __init__(self, module: nn.Module, outputs: Sequence[str]) -> None:
        super().__init__()
        self.module, self.outputs = module, outputs

    def forward(self, images: Tensor, valid_size: Tensor | None = None) -> dict[str, Tensor]:
        return dict(zip(self.outputs, self.module(images, valid_size), strict=True))


def to_program(
    module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], *, dynamic: bool
) -> ExportedProgram:
    """Export a module's program, as ``to_onnx`` takes it. Raises RecipeError if it can't be exported."""
    sizes = free_sizes(inputs, dynamic=dynamic)
    try:
        with quiet():
            named = _Named(module, outputs).eval()
            return torch.export.export(named, tuple(inputs.values()), dynamic_shapes=sizes, strict=False)
    except Exception as error:  # of many kinds, by version
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise RecipeError(f"torch can't export this network: {reason[0]}") from error


def saved(program: ExportedProgram, metadata: Mapping[str, Any]) -> bytes:
    """Save a program as bytes, with the metadata as JSON by topic."""
    buffer = BytesIO()
    with quiet():
        torch.export.save(program, buffer, extra_files={METADATA: json.dumps(metadata, ensure_ascii=False)})
    return buffer.getvalue()


def reread(program: ExportedProgram) -> fx.GraphModule:
    """Load the module again from its program's file, as a user would."""
    with quiet():
        module = torch.export.load(BytesIO(saved(program, {}))).module()
    assert isinstance(module, fx.GraphModule)
    return module


@torch.no_grad()
def run(module: nn.Module, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Compute all outputs by name."""
    found = module(*map(torch.from_numpy, inputs.values()))
    return {name: values.numpy() for name, values in found.items()}


@torch.no_grad()
def run_from(
    module: fx.GraphModule, outputs: Sequence[str], raw: Sequence[str], values: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Compute all outputs, with the outputs named ``raw`` set to the given values."""
    (end,) = (node for node in module.graph.nodes if node.op == "output")
    ends: Any = end.args[0]
    nodes = dict(zip(outputs, ends, strict=True))
    given = {nodes[name]: torch.from_numpy(values[name]) for name in raw}
    inputs = [torch.from_numpy(array) for name, array in values.items() if name not in raw]
    found = _Given(module, given).run(*inputs)
    return {name: value.numpy() for name, value in found.items()}


class _Given(fx.Interpreter):
    """Runs a graph some of whose values are given."""

    def __init__(self, module: fx.GraphModule, given: Mapping[fx.Node, Tensor]) -> None:
        super().__init__(module)
        self.given = given

    def run_node(self, n: fx.Node) -> Any:
        return self.given[n] if n in self.given else super().run_node(n)
