"""Read data sets: layouts, images, splits. Nothing here imports torch until batches are made."""

from boxwright.data.dataset import CROWD, DIFFICULT, NORMAL, DetectionDataset, LeftOut, Target
from boxwright.data.images import decode_image, image_size
from boxwright.data.layout import available_splits
from boxwright.data.readers.own import LabelledImage
from boxwright.data.reading import read_dataset

__all__ = [
    "CROWD",
    "DIFFICULT",
    "NORMAL",
    "DetectionDataset",
    "LabelledImage",
    "LeftOut",
    "Target",
    "available_splits",
    "decode_image",
    "image_size",
    "read_dataset",
]
