"""Where the weights came from that a run's network started with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from boxwright.runs.run import Run


def start_of(run: Run) -> dict[str, Any]:
    """Say where a run's first weights came from, and their license where it is known.

    From the start that its training names, the model's own file where it was imported, or timm for a backbone.
    """
    recipe = run.recipe
    found: dict[str, Any] = {"backbone": recipe.backbone, "pretrained": recipe.pretrained, "license": None}
    start = run.record["origin"].get("start")
    if start is not None:
        return found | {key: start[key] for key in ("name", "origin", "license", "taken")}
    known = weights_metadata(run.model_file)
    if own := {key: known[key] for key in ("origin", "license") if known.get(key)}:
        return found | own
    return found | {"license": _backbone_license(recipe.backbone, recipe.pretrained)}


def _backbone_license(backbone: str, pretrained: bool | str) -> str | None:
    import timm

    if pretrained is not True or not timm.is_model(backbone):
        return None
    config = timm.get_pretrained_cfg(backbone, allow_unregistered=True)
    return None if config is None else config.license


def weights_metadata(path: Path) -> dict[str, str]:
    """Read what stands beside the tensors of a .safetensors; nothing where it can't be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError):
        return {}
