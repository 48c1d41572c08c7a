"""Convolutions of a folded network merged with the following activation, as one oneDNN operation on the processor.

These are the operations that torch.compile would generate, without its half minute. ``F.conv2d`` would write the maps
once more for each activation, and on one thread uses a slow routine for 1x1 kernels with few images. Weights are put
into oneDNN's order once, not at each call, and TensorFlow's padding takes no copy of the map.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Self, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from boxwright.models.efficientnet_lite import SamePadded
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
    """A convolution with its activation: (B, C, H, W) -> (B, C', H', W'), in the type of its weights.

    A ``SamePadded`` one gets a row and a column of zeros before its kernel, so that the same padding on both sides
    does, and no padded copy of the map is made. It differs for sides of an odd number of pixels.
    """

    def __init__(self, convolution: nn.Conv2d, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias
        self.padding: Any = convolution.padding  # numbers: padding in words isn't fused
        self.same_padded = isinstance(convolution, SamePadded)
        if self.same_padded:
            self.weight = nn.Parameter(F.pad(convolution.weight, (1, 0, 1, 0)), requires_grad=False)
            self.padding = tuple(side // 2 for side in convolution.kernel_size)
        self.geometry = (convolution.stride, convolution.dilation, convolution.groups)
        self.activation = _NONE if activation is None else _ACTIVATIONS[type(activation)](activation)
        self._reordered: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Compute the convolution of ``x`` followed by the activation."""
        x, padding = x.to(self.weight.dtype), self.padding
        if self.same_padded:
            padding = tuple(half + side % 2 for half, side in zip(padding, x.shape[2:], strict=True))
        if self._reordered is None:  # the best order depends on the input's size: others hardly take longer
            self._reordered = torch.ops.mkldnn._reorder_convolution_weight(
                self.weight, padding, *self.geometry, x.shape
            )
        made: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self._reordered, self.bias, padding, *self.geometry, *self.activation, ""
        )
        return made

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        self._reordered = None
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reordered": None}  # torch can neither copy nor save it


def can_fuse(net: nn.Module, precision: Literal["float32", "bf16"]) -> bool:
    """Tell whether the network is on a processor for which torch has oneDNN that computes in this precision."""
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not available or any(weight.device.type != "cpu" for weight in net.parameters()):
        return False
    return precision == "float32" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


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
    """Tell whether it is torch's own convolution padded with zeros, or our ``SamePadded``."""
    if type(module) not in (nn.Conv2d, SamePadded):
        return False
    return module.padding_mode == "zeros" and not isinstance(module.padding, str)


def _is_ordered(parent: nn.Module) -> bool:
    return type(parent).forward is nn.Sequential.forward
