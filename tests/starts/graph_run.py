"""TensorFlow's operations, one by one, as far as two graphs need them: what our networks are compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from boxwright.starts.graph import Graph, Node


class GraphRun:
    """Values of a graph's nodes, given those of some of them."""

    def __init__(self, graph: Graph, given: Mapping[str, Tensor]) -> None:
        self.graph, self.known = graph, {name: [value] for name, value in given.items()}

    def __call__(self, name: str) -> Tensor:
        name, _, place = name.partition(":")
        waiting = [name]
        while waiting:  # no recursion: graphs are deep
            node = self.graph[waiting[-1]]
            inputs = [each.partition(":") for each in node.inputs if not each.startswith("^")]
            missing = [each for each, _, _ in inputs if each not in self.known]
            if node.name in self.known or not missing:
                waiting.pop()
            if node.name in self.known:
                continue
            if missing:
                waiting += missing
                continue
            made = _OPERATIONS[node.op](node, *(self.known[each][int(index or 0)] for each, _, index in inputs))
            self.known[node.name] = list(made) if isinstance(made, list | tuple) else [made]
        return self.known[name][int(place or 0)]


def _convolution(node: Node, x: Tensor, kernel: Tensor, depthwise: bool = False) -> Tensor:
    x = x.permute(0, 3, 1, 2)
    stride = node.attributes["strides"][1]
    if node.attributes["padding"] == b"SAME":
        for dimension, side in ((2, kernel.shape[0]), (3, kernel.shape[1])):
            size = x.shape[dimension]
            lacking = max((-(-size // stride) - 1) * stride + side - size, 0)
            before, after = lacking // 2, lacking - lacking // 2
            x = F.pad(x, (before, after, 0, 0) if dimension == 3 else (0, 0, before, after))
    if depthwise:
        made = F.conv2d(x, kernel.permute(2, 3, 0, 1), stride=stride, groups=kernel.shape[2])
    else:
        made = F.conv2d(x, kernel.permute(3, 2, 0, 1), stride=stride)
    return made.permute(0, 2, 3, 1)


def _norm(node: Node, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    return (x - mean) / torch.sqrt(variance + node.attributes["epsilon"]) * scale + shift


def _pad(node: Node, x: Tensor, sides: Tensor, value: Tensor | None = None) -> Tensor:
    flat = [each for pair in reversed(sides.tolist()) for each in pair]
    return F.pad(x, flat, value=0.0 if value is None else float(value))


def _pool(node: Node, x: Tensor) -> Tensor:
    assert node.attributes["padding"] == b"VALID"
    made = F.max_pool2d(x.permute(0, 3, 1, 2), node.attributes["ksize"][1], node.attributes["strides"][1])
    return made.permute(0, 2, 3, 1)


def _resize(node: Node, x: Tensor, size: Tensor) -> Tensor:
    """Bilinear between pixels' middles, written out."""
    assert node.attributes["half_pixel_centers"]
    assert not node.attributes["align_corners"]
    for dimension, wanted in enumerate(size.tolist(), 1):
        given = x.shape[dimension]
        place = ((torch.arange(wanted) + 0.5) * given / wanted - 0.5).clamp(min=0)
        low = place.floor().long()
        high = (low + 1).clamp(max=given - 1)
        share = (place - low).view([-1 if axis == dimension else 1 for axis in range(4)])
        x = x.index_select(dimension, low) * (1 - share) + x.index_select(dimension, high) * share
    return x


def _slice(node: Node, x: Tensor, begin: Tensor, end: Tensor, strides: Tensor) -> Tensor:
    assert strides.tolist() == [1]
    part = x[int(begin) : int(end) or None]
    return part[0] if node.attributes.get("shrink_axis_mask") else part


def _const(node: Node) -> Tensor:
    return torch.from_numpy(node.attributes["value"].copy())


def _stack(node: Node, *parts: Tensor) -> Tensor:
    return torch.stack(
        [part.long() if not part.is_floating_point() else part for part in parts], node.attributes.get("axis", 0)
    )


def _squeeze(node: Node, x: Tensor) -> Tensor:
    return x.squeeze(tuple(node.attributes["squeeze_dims"]))


def _meshed(node: Node, x: Tensor, times: Tensor) -> Tensor:
    return x.repeat(times.tolist())


def _cut(node: Node, x: Tensor, begin: Tensor, size: Tensor) -> Tensor:
    assert x.ndim == 1
    start, count = int(begin), int(size)
    return x[start:] if count == -1 else x[start : start + count]


def _concat(node: Node, *parts: Tensor) -> Tensor:
    return torch.cat(parts[:-1], int(parts[-1]))


def _dense(node: Node, where: Tensor, size: Tensor, values: Tensor, other: Tensor) -> Tensor:
    made = other.repeat(size.tolist())
    made[tuple(where.reshape(-1, where.shape[-1]).T.long())] = values
    return made


_OPERATIONS: dict[str, Callable[..., Tensor | Sequence[Tensor]]] = {
    "Add": lambda node, a, b: a + b,
    "AddV2": lambda node, a, b: a + b,
    "BiasAdd": lambda node, a, b: a + b,
    "Cast": lambda node, x: x.float(),
    "ConcatV2": _concat,
    "Const": _const,
    "Conv2D": _convolution,
    "DepthwiseConv2dNative": lambda node, x, kernel: _convolution(node, x, kernel, depthwise=True),
    "ExpandDims": lambda node, x, axis: x.unsqueeze(int(axis)),
    "Fill": lambda node, shape, value: value.repeat(shape.tolist()) if len(shape) else value,
    "FusedBatchNorm": _norm,
    "Identity": lambda node, x: x,
    "LeakyRelu": lambda node, x: torch.where(x > 0, x, x * node.attributes["alpha"]),
    "MaxPool": _pool,
    "Minimum": lambda node, a, b: torch.minimum(a, b),
    "Mul": lambda node, a, b: a * b,
    "Pack": _stack,
    "Pad": _pad,
    "PadV2": _pad,
    "Range": lambda node, start, limit, step: torch.arange(int(start), int(limit), int(step)),
    "RealDiv": lambda node, a, b: a / b,
    "Relu6": lambda node, x: x.clamp(0, 6),
    "Reshape": lambda node, x, shape: x.reshape(shape.tolist()),
    "ResizeBilinear": _resize,
    "Shape": lambda node, x: torch.tensor(x.shape),
    "Sigmoid": lambda node, x: 1 / (1 + torch.exp(-x)),
    "Slice": _cut,
    "SparseToDense": _dense,
    "SplitV": lambda node, x, sizes, axis: torch.split(x, sizes.tolist(), int(axis)),
    "Sqrt": lambda node, x: torch.sqrt(x),
    "Squeeze": _squeeze,
    "StridedSlice": _slice,
    "Sub": lambda node, a, b: a - b,
    "Tile": _meshed,
    "Transpose": lambda node, x, order: x.permute(order.tolist()),
}
