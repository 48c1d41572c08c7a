"""Convolutions of a folded network merged with the following activation, as one oneDNN operation on the processor.

These are the operations that torch.compile would generate, without its half minute. ``F.conv2d`` would write the maps
once more for each activation, and on one thread uses a slow routine for 1x1 kernels with few images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeGuard

import torch
from torch import Tensor, nn

from boxwright.models.layers import is_left_by_norm


class _Activation(NamedTuple):
    """An activation under oneDNN's name."""

    name: str
    numbers: list[float]


_ACTIVATIONS: dict[type[nn.Module], Callable[[Any], _Activation]] = {
    nn.ReLU: lambda activation: _Activation("relu", []),
    nn.ReLU6: lambda activation: _Activation("hardtanh", [0.0, 6.0]),
    nn.LeakyReLU: lambda activation: _Activation("leaky_relu", [activation.negative_slope]),
}
_NONE = _Activation("none", [])


class FusedConv(nn.Module):
    """A convolution with its activation: (B, C, H, W) -> (B, C', H', W'), in the type of its weights."""

    def __init__(self, convolution: nn.Conv2d, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias
        self.geometry = (convolution.padding, convolution.stride, convolution.dilation, convolution.groups)
        self.activation = _NONE if activation is None else _ACTIVATIONS[type(activation)](activation)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the convolution of ``x`` followed by the activation."""
        made: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x.to(self.weight.dtype), self.weight, self.bias, *self.geometry, *self.activation, ""
        )
        return made


def can_fuse(net: nn.Module) -> bool:
    """Tell whether the network is on a processor for which torch has oneDNN."""
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and all(weight.device.type == "cpu" for weight in net.parameters())


def fuse_convolutions(net: nn.Module) -> None:
    """Replace each plain convolution by a ``FusedConv``, in place.

    It absorbs a ReLU, ReLU6 or LeakyReLU that comes next in an ``nn.Sequential`` whose order of definition is that of
    use, or that timm's BatchNormAct2d left behind when folded.
    """
    for parent in list(net.modules()):
        previous: tuple[str, nn.Conv2d] | None = None
        for name, child in list(parent.named_children()):
            if previous and type(child) in _ACTIVATIONS and (_is_ordered(parent) or is_left_by_norm(child)):
                setattr(parent, previous[0], FusedConv(previous[1], child))
                setattr(parent, name, nn.Identity())
            elif isinstance(child, nn.Identity):
                continue
            previous = None
            if _is_plain(child):
                setattr(parent, name, FusedConv(child))
                previous = name, child


def _is_plain(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Tell whether it is torch's own convolution with equal zero padding on both sides."""
    return type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str)


def _is_ordered(parent: nn.Module) -> bool:
    return type(parent).forward is nn.Sequential.forward
