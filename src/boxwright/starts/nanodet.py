"""NanoDet-g out of its TensorFlow.js graph, under our names."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from boxwright.errors import RecipeError
from boxwright.starts.graph import Graph, constant
from boxwright.starts.tfjs import read_tfjs

_PAIRS = (1, 2, 2, 3)
"""Number of pairs of convolutions in each block, ``Halves`` in our network."""
_LEVELS = 3
_CLASSES = 80


def nanodet_g(model: bytes, values: bytes) -> dict[str, Tensor]:
    """The tensors of the detector ``nano416`` out of nanodet.json and nanodet.bin.

    The graph's convolutions are in the order of the network. Its input is BGR: the first kernel's channels are turned.
    Raises RecipeError for another graph.
    """
    graph, names = read_tfjs(model, values), list(_names())
    try:
        pairs = [_convolution(graph, place) for place in range(len(names))]
    except ValueError as error:
        raise RecipeError(f"it is another graph than NanoDet-g's: {error}") from None
    state: dict[str, Tensor] = {}
    for name, (kernel, bias) in zip(names, pairs, strict=True):
        if name.endswith("outputs"):  # the scores' rows, then the distances'
            level = name.split(".")[2]
            state |= _named(f"net.head.logits.{level}", kernel[:_CLASSES], bias[:_CLASSES])
            state |= _named(f"net.head.deltas.{level}", kernel[_CLASSES:], bias[_CLASSES:])
        else:
            state |= _named(name, kernel, bias)
    stem = "net.backbone.stem.0.0.weight"
    state[stem] = state[stem].flip(1)
    return {name: value.contiguous() for name, value in state.items()}


def _names() -> Iterator[str]:
    """Our names of the graph's convolutions, in its order."""
    yield "net.backbone.stem.0.0"
    for block, pairs in enumerate(_PAIRS):
        inside = f"net.backbone.blocks.{block}"
        yield f"{inside}.entry.0"
        yield from (f"{inside}.halves.{pair}.{half}.0" for pair in range(pairs) for half in ("first", "second"))
        yield f"{inside}.exit.0"
    yield from (f"net.head.laterals.{level}" for level in range(_LEVELS))
    for level in range(_LEVELS):
        yield f"net.head.towers.{level}.0"
        yield f"net.head.{level}.outputs"


def _convolution(graph: Graph, place: int) -> tuple[Tensor, Tensor]:
    """The kernel (C', C, h, w) and the bias (C',) of a convolution, which is added right behind it."""
    name = f"PartitionedCall/convolution{f'_{place}' if place else ''}"
    if name not in graph or len(graph[name].inputs) != 2:
        raise ValueError(f"it has no convolution {name}")
    bias = next((node.inputs[1] for node in graph.values() if node.op == "Add" and node.inputs[:1] == (name,)), name)
    kernel = torch.from_numpy(constant(graph, graph[name].inputs[1]).copy())
    return kernel.permute(3, 2, 0, 1), torch.from_numpy(constant(graph, bias).copy())


def _named(name: str, kernel: Tensor, bias: Tensor) -> dict[str, Tensor]:
    return {f"{name}.weight": kernel, f"{name}.bias": bias}
