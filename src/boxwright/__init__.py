"""boxwright: train object detectors on your own images, and choose their supervision with evidence.

``import boxwright as bw`` is cheap: every name below is imported when it is first used (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from boxwright._version import __version__

_MODULES = (
    "adapters",
    "anchors",
    "boxes",
    "coding",
    "compare",
    "evaluate",
    "hardest",
    "inspect",
    "losses",
    "matching",
    "mining",
    "nms",
    "parts",
    "types",
)
_NAMES = {
    "DenseCriterion": "criterion",
    "augmentation": "parts",
    "backbone": "parts",
    "box_loss": "parts",
    "class_loss": "parts",
    "coder": "parts",
    "matcher": "parts",
    "miner": "parts",
    "optimizer": "parts",
    "part_info": "parts",
    "schedule": "parts",
    "DetectionDataset": "data",
    "create_detector": "models",
    "list_detectors": "models",
    "load": "runs",
    "read_dataset": "data",
    "train": "training",
}

__all__ = ["__version__", *_MODULES, *_NAMES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"boxwright.{name}")
    if name in _NAMES:
        return getattr(import_module(f"boxwright.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'boxwright' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
