"""Feature maps from any timm model: channels and strides are found by a dummy forward."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from timm.models import load_state_dict
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from boxwright.errors import MissingWeights, RecipeError
from boxwright.models.weights import lite0_weights
from boxwright.text import did_you_mean

_PROBE_SIDE = 256
_MOST_GROUPS = 32  # GroupNorm (arXiv:1803.08494), section 4.1

NormMode = Literal["train", "eval", "frozen", "group"]


@dataclass(frozen=True)
class FeatureMap:
    """One output of a backbone: its place among all, the module that makes it, channels, and stride in pixels."""

    index: int
    module: str
    channels: int
    stride: int


class Backbone(nn.Module):
    """A timm model that gives the feature maps of the strides asked for, finest first.

    ``freeze``: everything up to the backbone's ``freeze``-th feature map gets no gradient and keeps its statistics,
    and its BatchNorm is folded into the convolutions. ``freeze_depthwise``: depthwise kernels of this side or more get
    no gradient either, since on CPUs it costs more than all else about them; 0: none. ``norm_mode`` "train" lets the
    BatchNorm statistics of the rest follow the data, "eval" keeps them as loaded, "frozen" keeps scale and shift too;
    for "group" see ``replace_batch_norm``, which is for whole networks.

    ``pretrained``: the published weights, or those in a file. Raises RecipeError for a name that timm does not have, a
    model without feature maps, a stride it does not give, and a file that can't be used, MissingWeights where the
    published weights can't be fetched.
    """

    def __init__(
        self,
        name: str,
        strides: Sequence[int],
        *,
        pretrained: bool | str = True,
        freeze: int = 0,
        freeze_depthwise: int = 0,
        norm_mode: NormMode = "train",
    ) -> None:
        super().__init__()
        maps = probe_feature_maps(name)
        self.maps = tuple(_map_of_stride(maps, stride, name) for stride in strides)
        self.body = timm.create_model(name, features_only=True, out_indices=[m.index for m in self.maps])
        _cut(self.body, self.maps[-1])
        self.mean, self.std = _normalization(name)
        if pretrained:
            load_pretrained(self.body, name, pretrained)
        self.norm_mode = norm_mode
        self._freeze(maps, freeze)
        self._freeze_depthwise(freeze_depthwise)
        if norm_mode == "frozen":
            for norm in batch_norms(self.body):
                norm.requires_grad_(False)
        self.train()

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised images -> one (B, C, H / stride, W / stride) map per stride."""
        return list(self.body(images))

    def train(self, mode: bool = True) -> Backbone:
        """Training mode, except for BatchNorm that keeps its statistics."""
        super().train(mode)
        for norm in batch_norms(self):
            if self.norm_mode == "eval" or not norm.weight.requires_grad:
                norm.train(False)
        return self

    def _freeze(self, maps: Sequence[FeatureMap], count: int) -> None:
        if not 0 <= count <= len(maps):
            raise RecipeError(f"Expected freeze in 0..{len(maps)} for this backbone but got {count}")
        if count == 0:
            return
        last = maps[count - 1].module.replace(".", "_")
        for name, unit in _units(self.body):
            unit.requires_grad_(False)
            if name == last:
                break
        if _folds_exactly(self.body):
            fold_batch_norm(self.body)

    def _freeze_depthwise(self, side: int) -> None:
        for module in self.body.modules():
            if not side or not isinstance(module, nn.Conv2d) or module.groups == 1:
                continue
            if module.groups == module.in_channels and max(module.kernel_size) >= side:
                module.weight.requires_grad_(False)


def batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """All BatchNorm layers, by type: those of several devices and timm's with an activation are among them."""
    return [each for each in module.modules() if isinstance(each, _BatchNorm)]


def replace_batch_norm(net: nn.Module) -> None:
    """GroupNorm for each BatchNorm that learns, in place: for batches too small for statistics.

    32 groups, or the most below that divide the channels (arXiv:1803.08494). Scale and shift stay, and so does the
    activation inside timm's BatchNormAct2d.
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
    """Whether some convolution treats its channels one by one."""
    return any(isinstance(m, nn.Conv2d) and m.groups > 1 and m.groups == m.in_channels for m in net.modules())


def fold_batch_norm(module: nn.Module) -> None:
    """Fold each frozen BatchNorm that is defined right after a frozen convolution into it, in place.

    Definition order need not be the order of use: see ``_folds_exactly``. The activation inside timm's
    BatchNormAct2d stays.
    """
    for parent in list(module.modules()):
        previous_name, previous = "", nn.Module()
        for name, child in list(parent.named_children()):
            frozen = not any(p.requires_grad for p in (*child.parameters(), *previous.parameters()))
            if isinstance(child, _BatchNorm) and isinstance(previous, nn.Conv2d) and frozen:
                setattr(parent, previous_name, fuse_conv_bn_eval(previous.eval(), child.eval()))
                setattr(parent, name, getattr(child, "act", nn.Identity()))
            previous_name, previous = name, child


@cache
def probe_feature_maps(name: str) -> tuple[FeatureMap, ...]:
    """All feature maps of a timm model, in order. Raises RecipeError where it has none of shape (B, C, H, W)."""
    if not timm.is_model(name):
        raise RecipeError(f"unknown backbone {name!r}{_nearest_backbones(name)}")
    with torch.random.fork_rng(devices=[]):  # the trial's weights must not move the run's random numbers
        return _probe(name)


def _probe(name: str) -> tuple[FeatureMap, ...]:
    try:
        body = timm.create_model(name, features_only=True)
        info: list[dict[str, Any]] = body.feature_info.info  # type: ignore[union-attr, assignment]
        body = timm.create_model(name, features_only=True, out_indices=list(range(len(info)))).eval()
        with torch.no_grad():
            outputs = body(torch.zeros(1, 3, _PROBE_SIDE, _PROBE_SIDE))
    except (RuntimeError, AssertionError, AttributeError, TypeError) as error:
        raise RecipeError(f"backbone {name!r} gives no feature maps: {str(error).splitlines()[0]}") from None
    maps = []
    for index, (output, known) in enumerate(zip(outputs, info, strict=True)):
        if output.ndim != 4 or output.shape[1] != known["num_chs"]:
            raise RecipeError(f"backbone {name!r} gives no feature maps of shape (B, C, H, W)")
        maps.append(FeatureMap(index, known["module"], output.shape[1], _PROBE_SIDE // output.shape[-1]))
    return tuple(maps)


def _nearest_backbones(name: str) -> str:
    hint = did_you_mean(name, timm.list_models())
    return hint if "did you mean" in hint else "; timm.list_models() names them all"


def _map_of_stride(maps: Sequence[FeatureMap], stride: int, name: str) -> FeatureMap:
    for feature_map in reversed(maps):
        if feature_map.stride == stride:
            return feature_map
    raise RecipeError(f"backbone {name!r} has no map of stride {stride}: it has {[m.stride for m in maps]}")


def _cut(body: nn.Module, last: FeatureMap) -> None:
    """Drop the blocks behind the last map that is used, which timm's EfficientNets and MobileNets would still run."""
    part, _, place = last.module.partition(".")
    blocks = getattr(body, part, None)
    if place and isinstance(blocks, nn.Sequential):
        setattr(body, part, blocks[: int(place.partition(".")[0]) + 1])


def _units(body: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules between which a backbone can be cut, in order, under timm's names for feature maps."""
    units: list[tuple[str, nn.Module]] = []
    for name, child in body.named_children():
        if name == "blocks":
            units += [(f"blocks_{inner}", block) for inner, block in child.named_children()]
        else:
            units.append((name, child))
    return units


def _normalization(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return (tuple(config.mean), tuple(config.std)) if config else ((0.5,) * 3, (0.5,) * 3)


def load_pretrained(body: nn.Module, name: str, pretrained: bool | str = True, *, features_only: bool = True) -> None:
    """Give ``body`` the weights of a timm model that it has names of: the published ones, or those in a file.

    The file is a state dict of the model under timm's names (torchvision's of ResNets are the same), as .safetensors or
    as a .pth, which is never unpickled blindly. Raises RecipeError where it can't be used, and MissingWeights where the
    published ones can't be fetched.
    """
    own, file = body.state_dict(), pretrained if isinstance(pretrained, str) else None
    if name == "tf_efficientnet_lite0" and file is None:
        body.load_state_dict({key: value for key, value in lite0_weights().items() if key in own})
        return
    if file is not None and not Path(file).is_file():
        raise RecipeError(f"no file of pretrained weights at {file}")
    known = None if file is None else _fingerprints(file)
    overlay = {} if file is None else {"file": file}
    try:
        source = timm.create_model(
            name, pretrained=True, features_only=features_only, pretrained_cfg_overlay=overlay
        ).state_dict()
    except Exception as error:  # the hub's client raises whatever its network stack raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if file is not None:
            raise RecipeError(f"{file} holds no weights of {name!r}: {reason}") from None
        raise MissingWeights(f"can't get pretrained weights of {name!r} ({reason})") from None
    used = {key: value for key, value in source.items() if key in own}
    if known is not None:  # timm passes over what a file lacks
        lacking = [key for key, value in used.items() if value.ndim >= 2 and _fingerprint(value) not in known]
        if lacking:
            raise RecipeError(f"{file} holds no weights of {name!r}: it lacks {lacking[0]}")
    body.load_state_dict(used)


def _fingerprints(file: str) -> set[tuple[int, float]]:
    try:
        return {_fingerprint(value) for value in load_state_dict(file).values()}
    except Exception:  # readers of files raise whatever a foreign one leads them into, with advice to trust it
        raise RecipeError(f"{file} holds no weights: Expected tensors by name, as .safetensors or a .pth") from None


def _fingerprint(weights: Tensor) -> tuple[int, float]:
    """Equal for equal weights, whatever their name and shape."""
    return weights.numel(), weights.double().sum().item()


@torch.no_grad()
def _folds_exactly(body: nn.Module) -> bool:
    """Whether folding leaves the outputs unchanged, tried on a float64 copy with uneven statistics.

    The answer depends on the architecture alone, so that a saved model always finds the structure it was saved from.
    """
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
