"""Backbone weights from converted starts, or from any file of a boxwright detector."""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open
from torch import nn

from boxwright.errors import RecipeError
from boxwright.starts.cache import kept_weights

PREFIX = "net.backbone."
"""Prefix of a backbone's names in a detector's file."""


def load_kept(backbone: nn.Module, start: str, pretrained: bool | str) -> None:
    """Load a backbone's weights: those of a ``start`` in the cache, or with a path those in a detector's .safetensors.

    Weights that the backbone does not have are left out.

    Raises:
        RecipeError: If the file cannot be used.
        MissingWeights: If the start is not in the cache.
    """
    path = Path(pretrained) if isinstance(pretrained, str) else kept_weights(start)
    if not path.is_file():
        raise RecipeError(f"no file of pretrained weights at {path}")
    names = {PREFIX + name: name for name in backbone.state_dict()}
    try:
        with safe_open(path, framework="pt") as file:
            there = set(file.keys())
            lacking = [name for full, name in names.items() if full not in there]
            if lacking:
                raise RecipeError(f"{path} holds no weights of this backbone: it lacks {PREFIX}{lacking[0]}")
            state = {name: file.get_tensor(full) for full, name in names.items()}
    except RecipeError:
        raise
    except Exception as error:  # the reader may raise anything on a foreign file
        raise RecipeError(f"{path} holds no weights: {(str(error) or 'empty').splitlines()[0]}") from None
    try:
        backbone.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise RecipeError(f"{path} holds no weights of this backbone: {reason}") from None
