"""boxwright: train object detectors on your own images, and choose their supervision with evidence.

``import boxwright as bw`` is cheap: every name below is imported when it is first used (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from boxwright._version import __version__

_MODULES = (
    "adapters",
    "anchors",
    "boxes",
    "coding",
    "compare",
    "data",
    "evaluate",
    "hardest",
    "inspect",
    "losses",
    "matching",
    "mining",
    "models",
    "nms",
    "parts",
    "recipes",
    "types",
)
_NAMES = {
    "DenseCriterion": "criterion",
    "anchor_spec": "parts",
    "augmentation": "parts",
    "backbone": "parts",
    "box_loss": "parts",
    "class_loss": "parts",
    "coder": "parts",
    "matcher": "parts",
    "miner": "parts",
    "optimizer": "parts",
    "part_info": "parts",
    "reader": "parts",
    "sampling": "parts",
    "schedule": "parts",
    "DenseOutputs": "types",
    "Detections": "types",
    "DetectionDataset": "data",
    "DetectorSpec": "recipes",
    "LabelledImage": "data",
    "Matches": "types",
    "Recipe": "recipes",
    "Targets": "types",
    "create_detector": "models",
    "get_recipe": "recipes",
    "list_detectors": "models",
    "load": "runs",
    "read_dataset": "data",
    "train": "training",
}

__all__ = ["__version__", *_MODULES, *_NAMES]

if TYPE_CHECKING:  # type checkers see the names themselves, and so find wrong ones; a test keeps both lists equal
    from boxwright import adapters as adapters
    from boxwright import anchors as anchors
    from boxwright import boxes as boxes
    from boxwright import coding as coding
    from boxwright import compare as compare
    from boxwright import data as data
    from boxwright import evaluate as evaluate
    from boxwright import hardest as hardest
    from boxwright import inspect as inspect
    from boxwright import losses as losses
    from boxwright import matching as matching
    from boxwright import mining as mining
    from boxwright import models as models
    from boxwright import nms as nms
    from boxwright import parts as parts
    from boxwright import recipes as recipes
    from boxwright import types as types
    from boxwright.criterion import DenseCriterion as DenseCriterion
    from boxwright.data import DetectionDataset as DetectionDataset
    from boxwright.data import LabelledImage as LabelledImage
    from boxwright.data import read_dataset as read_dataset
    from boxwright.models import create_detector as create_detector
    from boxwright.models import list_detectors as list_detectors
    from boxwright.parts import anchor_spec as anchor_spec
    from boxwright.parts import augmentation as augmentation
    from boxwright.parts import backbone as backbone
    from boxwright.parts import box_loss as box_loss
    from boxwright.parts import class_loss as class_loss
    from boxwright.parts import coder as coder
    from boxwright.parts import matcher as matcher
    from boxwright.parts import miner as miner
    from boxwright.parts import optimizer as optimizer
    from boxwright.parts import part_info as part_info
    from boxwright.parts import reader as reader
    from boxwright.parts import sampling as sampling
    from boxwright.parts import schedule as schedule
    from boxwright.recipes import DetectorSpec as DetectorSpec
    from boxwright.recipes import Recipe as Recipe
    from boxwright.recipes import get_recipe as get_recipe
    from boxwright.runs import load as load
    from boxwright.training import train as train
    from boxwright.types import DenseOutputs as DenseOutputs
    from boxwright.types import Detections as Detections
    from boxwright.types import Matches as Matches
    from boxwright.types import Targets as Targets
else:

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return import_module(f"boxwright.{name}")
        if name in _NAMES:
            return getattr(import_module(f"boxwright.{_NAMES[name]}"), name)
        raise AttributeError(f"module 'boxwright' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
