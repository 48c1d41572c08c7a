"""Where the weights came from that a run's network started with."""

from __future__ import annotations

from typing import Any


def backbone_origin(backbone: str, pretrained: bool | str) -> dict[str, Any]:
    """A backbone's name, whether its weights were pretrained, and their licence where timm knows it."""
    import timm

    licence = None
    if pretrained is True and timm.is_model(backbone):
        config = timm.get_pretrained_cfg(backbone, allow_unregistered=True)
        licence = None if config is None else config.license
    return {"backbone": backbone, "pretrained": pretrained, "licence": licence}
