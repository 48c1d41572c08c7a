"""Feature maps from any timm model: channels and strides are found by a trial forward pass.

timm takes seconds to import, so it is imported only where needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from boxwright.errors import MissingWeights, RecipeError
from boxwright.models.layers import fold_batch_norm, folds_exactly
from boxwright.starts.cache import is_fetched, kept_weights
from boxwright.starts.known import KNOWN
from boxwright.text import did_you_mean
from boxwright.types import FeatureMap

_PROBE_SIDE = 256


@dataclass(frozen=True)
class TimmMap:
    """One output of a timm model: its index, the module that makes it, channels, and stride in pixels."""

    index: int
    module: str
    channels: int
    stride: int


class TimmBackbone(nn.Module):
    """A timm model that returns the feature maps of given strides, finest first.

    A stage ends with each feature map of the model, including those not used.

    Raises:
        RecipeError: For a name that timm does not have, a model without feature maps, and a stride that it lacks.
    """

    def __init__(self, name: str, strides: Sequence[int]) -> None:
        import timm

        super().__init__()
        found = probe_feature_maps(name)
        chosen = [_map_of_stride(found, stride, name) for stride in strides]
        self.maps = tuple(FeatureMap(each.channels, each.stride) for each in chosen)
        self.body = timm.create_model(name, features_only=True, out_indices=[each.index for each in chosen])
        _cut(self.body, chosen[-1])
        self.mean, self.std = _normalization(name)
        self._name = name
        self._ends = [each.module.replace(".", "_") for each in found]

    @property
    def stages(self) -> list[nn.Module]:
        """The modules that lead to each feature map from the one before; none after the last map that is used."""
        units = _units(self.body)
        names = [name for name, _ in units]
        stages: list[nn.Module] = []
        start = 0
        for name in self._ends:
            end = names.index(name) + 1 if name in names else len(names)
            stages.append(nn.ModuleList(unit for _, unit in units[start:end]))
            start = max(start, end)
        return stages

    def load(self, pretrained: bool | str = True) -> None:
        """Load the published weights, or those in a file.

        Raises:
            RecipeError: If the file cannot be used.
            MissingWeights: If the published weights cannot be fetched.
        """
        load_pretrained(self.body, self._name, pretrained)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map normalized images (B, 3, H, W) to one (B, C, H / stride, W / stride) map per stride."""
        return list(self.body(images))

    def fold_frozen(self) -> None:
        """Fold frozen BatchNorm into frozen convolutions, if the model's structure keeps the outputs unchanged."""
        if folds_exactly(self.body):
            fold_batch_norm(self.body)


@cache
def probe_feature_maps(name: str) -> tuple[TimmMap, ...]:
    """List all feature maps of a timm model, in order; raises RecipeError if it has none of shape (B, C, H, W)."""
    import timm

    if not timm.is_model(name):
        raise RecipeError(f"unknown backbone {name!r}{_nearest_backbones(name)}")
    with torch.random.fork_rng(devices=[]):  # the trial's weights must not change the run's random numbers
        return _probe(name)


def _probe(name: str) -> tuple[TimmMap, ...]:
    import timm

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
        maps.append(TimmMap(index, known["module"], output.shape[1], _PROBE_SIDE // output.shape[-1]))
    return tuple(maps)


def _nearest_backbones(name: str) -> str:
    import timm

    hint = did_you_mean(name, timm.list_models())
    return hint if "did you mean" in hint else "; timm.list_models() names them all"


def _map_of_stride(maps: Sequence[TimmMap], stride: int, name: str) -> TimmMap:
    for feature_map in reversed(maps):
        if feature_map.stride == stride:
            return feature_map
    raise RecipeError(f"backbone {name!r} has no map of stride {stride}: it has {[m.stride for m in maps]}")


def _cut(body: nn.Module, last: TimmMap) -> None:
    """Drop the blocks after the last map that is used, which timm's EfficientNets and MobileNets would still run."""
    part, _, place = last.module.partition(".")
    blocks = getattr(body, part, None)
    if place and isinstance(blocks, nn.Sequential):
        setattr(body, part, blocks[: int(place.partition(".")[0]) + 1])


def _units(body: nn.Module) -> list[tuple[str, nn.Module]]:
    """List the modules between which a backbone can be cut, in order, under timm's names for feature maps."""
    units: list[tuple[str, nn.Module]] = []
    for name, child in body.named_children():
        if name == "blocks":
            units += [(f"blocks_{inner}", block) for inner, block in child.named_children()]
        else:
            units.append((name, child))
    return units


def _normalization(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    import timm

    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return (tuple(config.mean), tuple(config.std)) if config else ((0.5,) * 3, (0.5,) * 3)


def load_pretrained(body: nn.Module, name: str, pretrained: bool | str = True, *, features_only: bool = True) -> None:
    """Load a timm model's weights into ``body`` where names are equal: the published ones, or those in a file.

    The file is a state dict of the model under timm's names (for ResNets they equal torchvision's), as .safetensors or
    as a .pth, which is never unpickled blindly. Published ones that ``boxwright start fetch`` has put into the cache
    are taken from there.

    Raises:
        RecipeError: If the weights cannot be used.
        MissingWeights: If the published ones cannot be fetched.
    """
    import timm

    kept = str(kept_weights(name)) if is_fetched(name) else None
    own, file = body.state_dict(), pretrained if isinstance(pretrained, str) else kept
    if file is not None and not Path(file).is_file():
        raise RecipeError(f"no file of pretrained weights at {file}")
    known = None if file is None else _fingerprints(file)
    overlay = {} if file is None else {"file": file}
    try:
        source = timm.create_model(
            name, pretrained=True, features_only=features_only, pretrained_cfg_overlay=overlay
        ).state_dict()
    except Exception as error:  # the hub's client may raise anything that its network stack raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if file is not None:
            raise RecipeError(f"{file} holds no weights of {name!r}: {reason}") from None
        cure = f"; boxwright start fetch {name} gets them" if name in KNOWN else ""
        raise MissingWeights(f"can't get pretrained weights of {name!r} ({reason}){cure}") from None
    used = {key: value for key, value in source.items() if key in own}
    if known is not None:  # timm ignores what a file lacks
        lacking = [key for key, value in used.items() if value.ndim >= 2 and _fingerprint(value) not in known]
        if lacking:
            raise RecipeError(f"{file} holds no weights of {name!r}: it lacks {lacking[0]}")
    body.load_state_dict(used)


def _fingerprints(file: str) -> set[tuple[int, float]]:
    from timm.models import load_state_dict

    try:
        return {_fingerprint(value) for value in load_state_dict(file).values()}
    except Exception:  # readers may raise anything on foreign files, with advice to trust them
        raise RecipeError(f"{file} holds no weights: Expected tensors by name, as .safetensors or a .pth") from None


def _fingerprint(weights: Tensor) -> tuple[int, float]:
    """Compute a value that is equal for equal weights, whatever their names and shapes."""
    return weights.numel(), weights.double().sum().item()
