"""Read TensorFlow.js graph models: a model.json with the graph and the list of weights, and the weights' raw values."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from boxwright.errors import RecipeError
from boxwright.starts.graph import Graph, Node, count_of

_TYPES = {"float32": "<f4", "int32": "<i4", "bool": "?"}
_QUANTIZED = {"float16": "<f2", "uint8": "<u1", "uint16": "<u2"}


class _List(msgspec.Struct):
    i: list[str | int] = []


class _Attribute(msgspec.Struct):
    s: str | None = None
    i: str | int | None = None
    f: float | None = None
    b: bool | None = None
    list: _List | None = None

    def value(self) -> Any:
        """The one that is there; None for kinds that weights have no use for."""
        if self.s is not None:
            return base64.b64decode(self.s, validate=True)
        if self.i is not None:
            return int(self.i)
        if self.list is not None:
            return [int(each) for each in self.list.i]
        return self.b if self.f is None else self.f


class _Node(msgspec.Struct):
    name: str
    op: str
    input: list[str] = []
    attr: dict[str, _Attribute] = {}


class _Topology(msgspec.Struct):
    node: list[_Node]


class _Quantization(msgspec.Struct):
    dtype: str
    scale: float = 1.0
    min: float = 0.0


class _Weight(msgspec.Struct):
    name: str
    shape: list[int]
    dtype: str
    quantization: _Quantization | None = None


class _Group(msgspec.Struct):
    weights: list[_Weight]


class _Model(msgspec.Struct):
    modelTopology: _Topology
    weightsManifest: list[_Group]


def read_tfjs(model: bytes, values: bytes) -> Graph:
    """The nodes of a model.json by name, the constants with their arrays.

    ``values``: the files that its manifest lists, one after the other. Half floats and quantized numbers become
    float32. Raises RecipeError for what is no such model, and where the values aren't as many as the list says.
    """
    try:
        content = msgspec.json.decode(model, type=_Model)
        arrays = _arrays([weight for group in content.weightsManifest for weight in group.weights], values)
        graph: Graph = {}
        for node in content.modelTopology.node:
            if node.name in graph:
                raise ValueError(f"it has {node.name!r} twice")
            given = {key: attribute.value() for key, attribute in node.attr.items()}
            given |= {"value": arrays[node.name]} if node.name in arrays else {}
            attributes = {key: value for key, value in given.items() if value is not None}
            graph[node.name] = Node(node.name, node.op, tuple(node.input), attributes)
    except (msgspec.MsgspecError, ValueError, binascii.Error, RecursionError) as error:
        raise RecipeError(f"it is no TensorFlow.js graph model, or damaged: {error}") from None
    return graph


def _arrays(weights: list[_Weight], values: bytes) -> dict[str, NDArray[Any]]:
    arrays, start = {}, 0
    for weight in weights:
        packed = weight.quantization
        kinds, kind = (_TYPES, weight.dtype) if packed is None else (_QUANTIZED, packed.dtype)
        if kind not in kinds:
            raise ValueError(f"{weight.name} has the type {kind}, which isn't read")
        count = count_of(weight.shape)
        end = start + count * np.dtype(kinds[kind]).itemsize
        if end > len(values):
            raise ValueError(f"the values end before {weight.name}")
        array = np.frombuffer(values[start:end], kinds[kind]).reshape(weight.shape)
        start = end
        if packed is not None:
            array = array.astype(np.float32)
            array = array if kind == "float16" else array * np.float32(packed.scale) + np.float32(packed.min)
        arrays[weight.name] = array
    if start != len(values):
        raise ValueError(f"{len(values) - start:,} bytes of values are left over")
    return arrays
