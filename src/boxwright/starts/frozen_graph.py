"""Read TensorFlow's frozen graphs (GraphDef, as protocol buffers) without TensorFlow.

The wire format is https://protobuf.dev/programming-guides/encoding; the numbers of the fields are those of TensorFlow's
graph.proto, node_def.proto, attr_value.proto, tensor.proto and tensor_shape.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boxwright.errors import RecipeError
from boxwright.starts.graph import Graph, Node, count_of

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}
# Number of a type (types.proto) -> numpy's name of it, and the field of TensorProto that lists its values
_TYPES = {1: ("<f4", 5), 2: ("<f8", 6), 3: ("<i4", 7), 9: ("<i8", 10), 10: ("?", 11)}


def read_frozen_graph(data: bytes) -> Graph:
    """Read the nodes of a GraphDef by name; raises RecipeError if it is none, is cut off or names a node twice."""
    graph: Graph = {}
    try:
        for field, value in _fields(memoryview(data)):
            if field == 1:
                node = _node(_message(value))
                if node.name in graph:
                    raise ValueError(f"it has {node.name!r} twice")
                graph[node.name] = node
    except (ValueError, struct.error) as error:
        raise RecipeError(f"it is no frozen TensorFlow graph, or damaged: {error}") from None
    if not graph:
        raise RecipeError("it is no frozen TensorFlow graph: it has no nodes")
    return graph


def _node(data: memoryview) -> Node:
    name, op, inputs, attributes = "", "", [], {}
    for field, value in _fields(data):
        if field == 1:
            name = _text(value)
        elif field == 2:
            op = _text(value)
        elif field == 3:
            inputs.append(_text(value))
        elif field == 5:
            entry = dict(_fields(_message(value)))
            if 1 in entry and 2 in entry:
                attributes[_text(entry[1])] = _attribute(_message(entry[2]))
    return Node(name, op, tuple(inputs), {key: value for key, value in attributes.items() if value is not None})


def _attribute(data: memoryview) -> Any:
    """Return the value of an AttrValue; None for kinds that weights do not use."""
    for field, value in _fields(data):
        if field == 1:
            return [each for number, packed in _fields(_message(value)) if number == 3 for each in _integers(packed)]
        if field == 2:
            return bytes(_message(value))
        if field == 3:
            return _signed(_integer(value))
        if field == 4:
            return struct.unpack("<f", _message(value))[0]
        if field == 5:
            return bool(value)
        if field == 8:
            return _tensor(_message(value))
    return None


def _tensor(data: memoryview) -> NDArray[Any] | None:
    """Return the array of a TensorProto; None for types that weights lack. A short list repeats its last value."""
    kind, shape, content = 0, [], b""
    listed: dict[int, list[bytes | int]] = {}
    for field, value in _fields(data):
        if field == 1:
            kind = _integer(value)
        elif field == 2:
            shape = _shape(_message(value))
        elif field == 4:
            content = bytes(_message(value))
        else:
            listed.setdefault(field, []).append(value if isinstance(value, int) else bytes(value))
    if kind not in _TYPES:
        return None
    name, field = _TYPES[kind]
    count = count_of(shape)
    values = np.frombuffer(content, name) if content else _listed(listed.get(field, []), name)
    if len(values) != count:
        if content or not 0 < len(values) < count:
            raise ValueError(f"a tensor of shape {shape} has {len(values)} values")
        values = np.concatenate([values, np.repeat(values[-1:], count - len(values))])
    return values.reshape(shape)


def _listed(parts: list[bytes | int], name: str) -> NDArray[Any]:
    """Collect values given one per field, or many packed into one."""
    if name.startswith("<f"):
        return np.frombuffer(b"".join(part for part in parts if isinstance(part, bytes)), name)
    return np.array([each for part in parts for each in _integers(part)], name)


def _shape(data: memoryview) -> list[int]:
    sizes = (dict(_fields(_message(value))) for field, value in _fields(data) if field == 2)
    return [_signed(_integer(size.get(1, 0))) for size in sizes]


def _integers(value: memoryview | bytes | int) -> list[int]:
    if isinstance(value, int):
        return [_signed(value)]
    numbers, place = [], 0
    while place < len(value):
        number, place = _varint(value, place)
        numbers.append(_signed(number))
    return numbers


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Yield number and value of each field of a message; raises ValueError if it is no message."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        wire = key & 7
        if wire == _VARINT:
            number, place = _varint(data, place)
            yield key >> 3, number
            continue
        if wire == _BYTES:
            length, place = _varint(data, place)
        elif wire in _WIDTHS:
            length = _WIDTHS[wire]
        else:
            raise ValueError(f"no field has the wire type {wire}")
        if length > len(data) - place:
            raise ValueError("it is cut off")
        yield key >> 3, data[place : place + length]
        place += length


def _varint(data: memoryview | bytes, place: int) -> tuple[int, int]:
    """Read a number with seven bits per byte; also returns the position after it."""
    number = 0
    for count in range(10):
        if place + count >= len(data):
            raise ValueError("it is cut off")
        byte = data[place + count]
        number |= (byte & 127) << 7 * count
        if byte < 128:
            return number & 0xFFFF_FFFF_FFFF_FFFF, place + count + 1
    raise ValueError("a number has more than ten bytes")


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


def _message(value: memoryview | int) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number stands where a message should")
    return value


def _integer(value: memoryview | int) -> int:
    if not isinstance(value, int):
        raise ValueError("a message stands where a number should")
    return value


def _text(value: memoryview | int) -> str:
    return bytes(_message(value)).decode("utf-8")
