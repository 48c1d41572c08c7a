"""EfficientNet-Lite trained on ImageNet out of PyTorch's files, under timm's names."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from boxwright.errors import RecipeError

_STEM_AND_HEAD = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OTHER_BLOCKS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_LITE_REPEATS = (1, 3, 3, 4, 4, 5, 1)
"""Blocks in each stage of EfficientNet-Lite1 and -Lite2."""


def efficientnet_lite(weights: bytes) -> dict[str, Tensor]:
    """Convert a .pth to timm's ``tf_efficientnet_lite1`` or ``_lite2``; raises RecipeError if it is neither."""
    return timm_names(_read(weights), _LITE_REPEATS)


def timm_names(state: Mapping[str, Tensor], repeats: Sequence[int]) -> dict[str, Tensor]:
    """Rename EfficientNet-Lite's tensors, whose blocks are numbered continuously, to timm's names, numbered by stage.

    ``repeats``: blocks in each stage.

    Raises:
        RecipeError: For other names.
    """
    places = [(stage, block) for stage, count in enumerate(repeats) for block in range(count)]
    try:
        return {_timm_name(name, places): tensor for name, tensor in state.items()}
    except (KeyError, ValueError, IndexError) as error:
        raise RecipeError(f"Expected the tensors of an EfficientNet-Lite but got {error}") from None


def _timm_name(name: str, places: Sequence[tuple[int, int]]) -> str:
    head, _, rest = name.partition(".")
    if head != "_blocks":
        return f"{_STEM_AND_HEAD[head]}.{rest}"
    index, layer, leaf = rest.split(".", 2)
    stage, block = places[int(index)]
    names = _FIRST_BLOCK if index == "0" else _OTHER_BLOCKS
    return f"blocks.{stage}.{block}.{names[layer]}.{leaf}"


def _read(weights: bytes) -> dict[str, Tensor]:
    """Read a state dict; nothing is unpickled but tensors."""
    try:
        state: Any = torch.load(io.BytesIO(weights), map_location="cpu", weights_only=True)
    except Exception:  # torch.load raises whatever a foreign file leads it into, with advice to trust the file
        state = None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise RecipeError("Expected tensors by name, as torch.save(model.state_dict(), file) writes them")
    return state
