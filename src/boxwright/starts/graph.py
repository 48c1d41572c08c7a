"""A TensorFlow graph as stored in its files: nodes by name, with the weights as arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_VALUES = 1 << 26
"""Limit for one tensor."""


class Node(NamedTuple):
    """One operation of a graph."""

    name: str
    op: str
    inputs: tuple[str, ...]
    """Names of nodes; ``name:1`` is the second output of one."""
    attributes: Mapping[str, Any]
    """Whole numbers, floats, truth values, bytes, lists of whole numbers and arrays; others are left out."""


Graph = dict[str, Node]


def constant(graph: Graph, name: str) -> NDArray[Any]:
    """Return the array of a constant, also through the identity nodes of a frozen variable.

    Raises:
        ValueError: If there is no such constant.
    """
    for _ in range(len(graph)):
        node = graph.get(name.partition(":")[0])
        if node is None:
            break
        if node.op == "Const":
            value = node.attributes.get("value")
            if isinstance(value, np.ndarray):
                return value
            break
        if node.op != "Identity" or not node.inputs:
            break
        name = node.inputs[0]
    raise ValueError(f"it has no constant {name}")


def count_of(shape: Sequence[int]) -> int:
    """Count the values of a tensor of this shape; raises ValueError for an impossible shape, or too many values."""
    count = math.prod(shape)
    if len(shape) > 8 or any(side < 0 for side in shape) or count > MOST_VALUES:
        raise ValueError(f"a tensor has the shape {list(shape)[:9]}")
    return count
