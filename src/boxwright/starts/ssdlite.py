"""SSDLite300 of persons out of its frozen TensorFlow graph, under our names."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from boxwright.errors import RecipeError
from boxwright.starts.frozen_graph import read_frozen_graph
from boxwright.starts.graph import Graph, constant

_NETWORK = "FeatureExtractor/MobilenetV2"
_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_REPEATS = (1, 2, 3, 4, 3, 3, 1)
_EXTRA = ((256, 512), (128, 256), (128, 256), (64, 128))
_MAPS = 6
_COORDINATES = (1, 0, 3, 2)
"""The graph's deltas are of y, x, height and width; ours of x, y, width and height."""


def ssdlite_person(graph: bytes) -> dict[str, Tensor]:
    """The tensors of the detector ``ssdlite300`` with its one class, person, out of frozen_inference_graph.pb.

    Of the scores' two columns, background and person, each with a sigmoid of its own, the second one is taken. Raises
    RecipeError for another graph.
    """
    nodes = read_frozen_graph(graph)
    try:
        state: dict[str, Tensor] = {}
        for theirs, kernel, ours in _convolutions():
            state |= _convolution(nodes, f"{theirs}/{kernel}", f"{ours[0]}.weight")
            state |= _batch_norm(nodes, f"{theirs}/BatchNorm", ours[1])
        for level in range(_MAPS):
            state |= _outputs(nodes, f"BoxPredictor_{level}/ClassPredictor", f"net.logits.{level}.2", (1,), 2)
            state |= _outputs(
                nodes, f"BoxPredictor_{level}/BoxEncodingPredictor", f"net.deltas.{level}.2", _COORDINATES, 4
            )
    except ValueError as error:
        raise RecipeError(f"it is another graph than SSDLite300's: {error}") from None
    return state


def _convolutions() -> Iterator[tuple[str, str, tuple[str, str]]]:
    """The graph's scope of each convolution with a norm, its name of the kernel, and ours of both."""
    body = "net.backbone.body"
    yield f"{_NETWORK}/Conv", "weights", (f"{body}.conv_stem", f"{body}.bn1")
    yield f"{_NETWORK}/Conv_1", "weights", (f"{body}.conv_head", f"{body}.bn2")
    places = [(stage, block) for stage, count in enumerate(_REPEATS) for block in range(count)]
    for flat, (stage, block) in enumerate(places):
        theirs, ours = f"{_NETWORK}/expanded_conv{f'_{flat}' if flat else ''}", f"{body}.blocks.{stage}.{block}"
        scopes = [("depthwise", "conv_dw"), ("project", "conv_pw")]
        if flat:  # in the first block nothing is expanded
            scopes = [("expand", "conv_pw"), ("depthwise", "conv_dw"), ("project", "conv_pwl")]
        for order, (scope, name) in enumerate(scopes, 1):
            kernel = "depthwise_weights" if scope == "depthwise" else "weights"
            yield f"{theirs}/{scope}", kernel, (f"{ours}.{name}", f"{ours}.bn{order}")
    for place, (inside, width) in enumerate(_EXTRA):
        ours, first = f"net.stages.{place}", f"{_NETWORK}/layer_19_1_Conv2d_{place + 2}_1x1_{inside}"
        last = f"{_NETWORK}/layer_19_2_Conv2d_{place + 2}_3x3_s2_{width}"
        yield first, "weights", (f"{ours}.0", f"{ours}.1")
        yield f"{last}_depthwise", "depthwise_weights", (f"{ours}.2", f"{ours}.3")
        yield last, "weights", (f"{ours}.4", f"{ours}.5")
    for level in range(_MAPS):
        for scope, name in (("ClassPredictor", "logits"), ("BoxEncodingPredictor", "deltas")):
            theirs, ours = f"BoxPredictor_{level}/{scope}_depthwise", f"net.{name}.{level}"
            yield theirs, "depthwise_weights", (f"{ours}.0", f"{ours}.1")


def _convolution(graph: Graph, theirs: str, ours: str) -> dict[str, Tensor]:
    """A kernel (h, w, C, C') as (C', C, h, w), a depthwise one (h, w, C, 1) as (C, 1, h, w)."""
    kernel = torch.from_numpy(constant(graph, theirs).copy())
    order = (2, 3, 0, 1) if theirs.endswith("depthwise_weights") else (3, 2, 0, 1)
    return {ours: kernel.permute(order).contiguous()}


def _batch_norm(graph: Graph, theirs: str, ours: str) -> dict[str, Tensor]:
    tensors = {
        f"{ours}.{name}": torch.from_numpy(constant(graph, f"{theirs}/{key}").copy()) for key, name in _NORM.items()
    }
    return {**tensors, f"{ours}.num_batches_tracked": torch.tensor(0)}


def _outputs(graph: Graph, theirs: str, ours: str, kept: tuple[int, ...], columns: int) -> dict[str, Tensor]:
    """An output layer with those of each anchor's ``columns`` that are kept."""
    kernel = torch.from_numpy(constant(graph, f"{theirs}/weights").copy()).permute(3, 2, 0, 1)
    bias = torch.from_numpy(constant(graph, f"{theirs}/biases").copy())
    rows = torch.arange(len(bias)).reshape(-1, columns)[:, list(kept)].flatten()
    return {f"{ours}.weight": kernel[rows].contiguous(), f"{ours}.bias": bias[rows]}
