"""Reading data sets: their layouts, images, splits. Nothing here imports torch until batches are made.

Every name below is imported when it is first used (PEP 562): images are read without what data sets need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_NAMES = {
    "CROWD": "dataset",
    "DIFFICULT": "dataset",
    "NORMAL": "dataset",
    "DetectionDataset": "dataset",
    "LabelledImage": "readers.own",
    "LeftOut": "dataset",
    "Target": "dataset",
    "available_splits": "layout",
    "decode_image": "images",
    "image_size": "images",
    "read_dataset": "reading",
}

__all__ = [*_NAMES]

if TYPE_CHECKING:
    from boxwright.data.dataset import CROWD as CROWD
    from boxwright.data.dataset import DIFFICULT as DIFFICULT
    from boxwright.data.dataset import NORMAL as NORMAL
    from boxwright.data.dataset import DetectionDataset as DetectionDataset
    from boxwright.data.dataset import LeftOut as LeftOut
    from boxwright.data.dataset import Target as Target
    from boxwright.data.images import decode_image as decode_image
    from boxwright.data.images import image_size as image_size
    from boxwright.data.layout import available_splits as available_splits
    from boxwright.data.readers.own import LabelledImage as LabelledImage
    from boxwright.data.reading import read_dataset as read_dataset
else:

    def __getattr__(name: str) -> Any:
        if name in _NAMES:
            return getattr(import_module(f"boxwright.data.{_NAMES[name]}"), name)
        raise AttributeError(f"module 'boxwright.data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
