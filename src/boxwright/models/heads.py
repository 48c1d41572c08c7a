"""What the heads of dense detectors share: towers, output layers and their initial values."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from boxwright.coding import BoxCoder, DistributionCoder

_PRIOR_PROBABILITY = 0.01  # RetinaNet (arXiv:1708.02002), section 4.1: start with "nothing here".
_DEPTH = 4
_DEVIATION = 0.01
_PUBLISHED_WIDTH = 256


def tower(width: int) -> nn.Sequential:
    """Make RetinaNet's four 3x3 convolutions, each with a ReLU, without norms: (B, width, H, W) -> the same.

    Biases start at 0, weights with standard deviation 0.01 sqrt(256 / width): the paper's at its width, and elsewhere
    the value that keeps the output's scale. Narrow towers with 0.01 would pass on almost nothing and hardly learn.
    """
    layers: list[nn.Module] = []
    for _ in range(_DEPTH):
        layer = nn.Conv2d(width, width, 3, padding=1)
        nn.init.normal_(layer.weight, std=_DEVIATION * math.sqrt(_PUBLISHED_WIDTH / width))
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        layers += [layer, nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def output_layer(width: int, bias: Tensor, *, side: int) -> nn.Conv2d:
    """Make a convolution to len(bias) channels that starts near ``bias``: normal weights of standard deviation .01."""
    layer = nn.Conv2d(width, len(bias), side, padding=side // 2)
    nn.init.normal_(layer.weight, std=_DEVIATION)
    layer.bias = nn.Parameter(bias.clone())
    return layer


def init_bias(num_outputs: int, classes: int) -> Tensor:
    """Compute the initial logits (num_outputs,) of a head: an object with probability 0.01.

    A sigmoid head, with as many outputs as ``classes``, starts with that for each class; a softmax head, with one more
    output for the background, for all classes together.
    """
    odds = _PRIOR_PROBABILITY / (1 - _PRIOR_PROBABILITY)
    if num_outputs == classes:
        return torch.full((num_outputs,), math.log(odds))
    return torch.tensor([0.0] * classes + [math.log(classes / odds)])


def init_deltas(coder: BoxCoder) -> Tensor:
    """Compute the initial deltas (D,) of a head: the anchor itself."""
    if not isinstance(coder, DistributionCoder):
        return torch.zeros(coder.dim)
    half_side = 0.5 / coder.step  # in bins
    return (-0.5 * (torch.arange(coder.bins) - half_side).abs()).repeat(4)


def flatten_head(cells: Tensor, num_outputs: int) -> Tensor:
    """Reshape (B, S x num_outputs, H, W) of S anchors a cell to (B, H x W x S, num_outputs), in the anchors' order."""
    return cells.permute(0, 2, 3, 1).reshape(cells.shape[0], -1, num_outputs)
