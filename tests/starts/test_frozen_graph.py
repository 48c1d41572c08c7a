"""Frozen graphs: what is written by the wire format's rules is read, and nothing else does harm."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from start_packages import field, float_constant, graph_message, node_message, tensor_message, varint

from boxwright.errors import RecipeError
from boxwright.starts.frozen_graph import read_frozen_graph
from boxwright.starts.graph import constant


def value_of(kind: int, shape: tuple[int, ...], values: bytes) -> np.ndarray:
    node = node_message("x", "Const", value=field(8, tensor_message(kind, shape, values)))
    return constant(read_frozen_graph(graph_message(node)), "x")


@given(arrays.arrays(np.float32, arrays.array_shapes(min_dims=0, max_dims=4, max_side=5)))
def test_a_tensor_comes_back(array: np.ndarray) -> None:
    graph = read_frozen_graph(graph_message(float_constant("a/b", array)))
    assert graph["a/b"].op == "Const"
    np.testing.assert_array_equal(constant(graph, "a/b"), array)


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (3, field(7, varint(5) + varint(-2)), np.array([5, -2], np.int32)),  # packed
        (3, field(7, 5) + field(7, -2), np.array([5, -2], np.int32)),  # one a field
        (9, field(10, varint(1 << 40) + varint(-1)), np.array([1 << 40, -1])),
        (10, field(11, varint(1) + varint(0)), np.array([True, False])),
        (1, field(5, 0.5), np.array([0.5, 0.5], np.float32)),  # the last one counts for those that aren't listed
        (1, field(5, struct.pack("<2f", 0.5, 2)), np.array([0.5, 2], np.float32)),
        (2, field(4, struct.pack("<2d", 0.1, 2)), np.array([0.1, 2])),
    ],
)
def test_listed_values(kind: int, values: bytes, expected: np.ndarray) -> None:
    found = value_of(kind, (2,), values)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype


def test_attributes_and_inputs() -> None:
    node = node_message(
        "c",
        "Conv2D",
        ("a", "b:1"),
        strides=field(1, field(3, bytes([1, 2, 2, 1]))),
        padding=field(2, b"SAME"),
        axis=field(3, -1),
        epsilon=field(4, 0.25),
        training=field(5, 1),
        T=field(6, 1),  # a type, which nobody needs
    )
    [read] = read_frozen_graph(graph_message(node) + field(2, b"versions")).values()
    assert (read.name, read.op, read.inputs) == ("c", "Conv2D", ("a", "b:1"))
    expected = {"strides": [1, 2, 2, 1], "padding": b"SAME", "axis": -1, "epsilon": 0.25, "training": True}
    assert read.attributes == expected


def test_a_constant_behind_identities() -> None:
    array = np.arange(3, dtype=np.float32)
    nodes = (float_constant("w", array), node_message("w/read", "Identity", ("w",)), node_message("n", "Relu", ("w",)))
    graph = read_frozen_graph(graph_message(*nodes, node_message("ring", "Identity", ("ring",))))
    np.testing.assert_array_equal(constant(graph, "w/read"), array)
    for name in ("n", "ring", "nobody"):
        with pytest.raises(ValueError, match="it has no constant"):
            constant(graph, name)


GRAPH = graph_message(
    float_constant("w", np.ones((2, 3), np.float32)),
    node_message("y", "Conv2D", ("x", "w"), padding=field(2, b"SAME"), strides=field(1, field(3, bytes(4)))),
)


def read_or_refused(data: bytes) -> list[str] | None:
    """The names of the nodes; None where there is a RecipeError, and any other error as it is."""
    try:
        return list(read_frozen_graph(data))
    except RecipeError:
        return None


@pytest.mark.parametrize("end", range(len(GRAPH)))
def test_a_graph_that_is_cut_off_is_refused_or_has_fewer_nodes(end: int) -> None:
    assert read_or_refused(GRAPH[:end]) in (None, ["w"])


@given(st.lists(st.tuples(st.integers(0, len(GRAPH) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_damage_is_refused_or_read(changes: list[tuple[int, int]]) -> None:
    data = bytearray(GRAPH)
    for place, byte in changes:
        data[place] = byte
    read_or_refused(bytes(data))


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (float_constant("w", np.ones(2, np.float32)) + b"\xff" * 11, "more than ten bytes"),
        (node_message("w", "Const", value=field(8, tensor_message(1, (3,), field(4, bytes(8))))), "has 2 values"),
        (node_message("w", "Const", value=field(8, tensor_message(1, (1,), field(4, bytes(8))))), "has 2 values"),
        (node_message("w", "Const", value=field(8, tensor_message(3, (0,), field(7, 1)))), "has 1 values"),
        (node_message("w", "Const", value=field(8, tensor_message(1, (-1,), b""))), "has the shape"),
        (node_message("w", "Const", value=field(8, tensor_message(1, (1 << 40,), field(5, 1.0)))), "has the shape"),
        (node_message("w", "Const", value=field(8, tensor_message(1, (1 << 62, 4), b""))), "has the shape"),
        (field(1, 7), "a number stands where a message should"),
        (field(1, b"\xff"), "decode"),
        (varint(1 << 3 | 3), "no field has the wire type 3"),
        (varint(1 << 3 | 2) + varint(1 << 60), "it is cut off"),
    ],
)
def test_what_is_wrong_is_said(node: bytes, reason: str) -> None:
    with pytest.raises(RecipeError, match=f"no frozen TensorFlow graph, or damaged: .*{reason}"):
        read_frozen_graph(graph_message(node))


def test_a_name_that_is_there_twice() -> None:
    with pytest.raises(RecipeError, match="it has 'w' twice"):
        read_frozen_graph(graph_message(node_message("w", "Relu"), node_message("w", "Relu")))


@pytest.mark.parametrize("data", [b"", field(2, b"versions")])
def test_no_nodes(data: bytes) -> None:
    with pytest.raises(RecipeError, match="it has no nodes"):
        read_frozen_graph(data)


def test_a_small_file_takes_no_large_memory() -> None:
    """One listed value stands for at most as many as the largest tensor may have."""
    node = node_message("w", "Const", value=field(8, tensor_message(1, (1 << 14, 1 << 14), field(5, 1.0))))
    tracemalloc.start()
    with pytest.raises(RecipeError, match="has the shape"):
        read_frozen_graph(graph_message(node))
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
