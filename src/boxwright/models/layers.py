"""Operations on layers of any network: freezing, folding and replacing BatchNorm, and freezing depthwise kernels."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TypeGuard

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from boxwright.recipes.keys import NormMode

_LEFT = "_left_by_norm"
_MOST_GROUPS = 32  # GroupNorm (arXiv:1803.08494), section 4.1


def batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """List all BatchNorm layers by type, including those for several devices and timm's with an activation."""
    return [each for each in module.modules() if isinstance(each, _BatchNorm)]


def replace_batch_norm(net: nn.Module) -> None:
    """Replace each BatchNorm that learns by GroupNorm, in place, for batches too small for statistics.

    It uses 32 groups, or the largest smaller number that divides the channels (arXiv:1803.08494). Scale and shift stay,
    and so does the activation inside timm's BatchNormAct2d.
    """
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm) and child.weight.requires_grad:
                channels = child.num_features
                groups = next(n for n in range(min(_MOST_GROUPS, channels), 0, -1) if channels % n == 0)
                norm = nn.GroupNorm(groups, channels, eps=child.eps)
                norm.weight, norm.bias = child.weight, child.bias
                activation = getattr(child, "act", None)
                setattr(parent, name, norm if activation is None else nn.Sequential(norm, activation))


def has_depthwise(net: nn.Module) -> bool:
    """Tell whether a convolution treats its channels one by one."""
    return any(_is_depthwise(module) for module in net.modules())


def fold_batch_norm(module: nn.Module) -> None:
    """Fold each frozen BatchNorm that is defined right after a frozen convolution into it, in place.

    The order of definition may differ from that of use: see ``folds_exactly``. The activation inside timm's
    BatchNormAct2d stays.
    """
    for parent in list(module.modules()):
        previous_name, previous = "", nn.Module()
        for name, child in list(parent.named_children()):
            frozen = not any(p.requires_grad for p in (*child.parameters(), *previous.parameters()))
            if isinstance(child, _BatchNorm) and isinstance(previous, nn.Conv2d) and frozen:
                setattr(parent, previous_name, fuse_conv_bn_eval(previous.eval(), child.eval()))
                setattr(parent, name, _left_of(child))
            previous_name, previous = name, child


def norms_behind_convolutions(module: nn.Module) -> Iterator[tuple[str, str, float]]:
    """Yield the names of each convolution and of the BatchNorm defined right after it, and its epsilon."""
    for prefix, parent in module.named_modules():
        previous_name, previous = "", nn.Module()
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm) and isinstance(previous, nn.Conv2d):
                yield f"{prefix}.{previous_name}".lstrip("."), f"{prefix}.{name}".lstrip("."), child.eps
            previous_name, previous = name, child


@torch.no_grad()
def folds_exactly(body: nn.Module) -> bool:
    """Test, on a float64 copy with uneven statistics, whether folding leaves the outputs unchanged.

    The answer depends on the architecture alone, so that a saved model always finds the structure it was saved with.
    """
    if not batch_norms(body):
        return True
    generator = torch.Generator().manual_seed(0)
    trial = copy.deepcopy(body).eval().double()
    for module in trial.modules():
        if isinstance(module, _BatchNorm) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.uniform_(-0.5, 0.5, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
    images = torch.rand(1, 3, 64, 64, generator=generator, dtype=torch.float64)
    before = trial(images)
    fold_batch_norm(trial)
    pairs = zip(before, trial(images), strict=True)
    return all(torch.allclose(a, b, rtol=0, atol=1e-6 * float(a.abs().max())) for a, b in pairs)


def _left_of(norm: _BatchNorm) -> nn.Module:
    """Return what replaces a folded norm after its convolution: the activation in timm's BatchNormAct2d, or nothing."""
    activation: nn.Module = getattr(norm, "act", nn.Identity())
    setattr(activation, _LEFT, True)
    return activation


def is_left_by_norm(module: nn.Module) -> bool:
    """Tell whether folding left the module in place of a norm, directly after the convolution before it."""
    return getattr(module, _LEFT, False)


def keep_statistics(net: nn.Module, norm_mode: NormMode) -> None:
    """Put BatchNorm that keeps its statistics into evaluation mode: with "eval" all, else those that are frozen."""
    for norm in batch_norms(net):
        weights = list(norm.parameters())
        if norm_mode == "eval" or (weights and not any(weight.requires_grad for weight in weights)):
            norm.train(False)


def freeze_depthwise(net: nn.Module, side: int) -> None:
    """Freeze depthwise kernels of this side or larger; 0: none.

    On CPUs their gradient costs more than everything else about them.
    """
    for module in net.modules():
        if side and _is_depthwise(module) and max(module.kernel_size) >= side:
            module.weight.requires_grad_(False)


def _is_depthwise(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    return isinstance(module, nn.Conv2d) and module.groups > 1 and module.groups == module.in_channels
