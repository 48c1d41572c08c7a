"""How large a data set's objects are in a network's input, as anchors are chosen and judged by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from boxwright.data.images import image_size
from boxwright.data.transforms import Frame, keep_visible
from boxwright.errors import DataError

if TYPE_CHECKING:
    from boxwright.data import DetectionDataset
    from boxwright.recipes.recipe import Recipe


def sides_of(boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Compute sqrt(width x height) (n,) of boxes (n, 4)."""
    corners = boxes.astype(np.float64)
    return np.asarray(np.sqrt((corners[:, 2:] - corners[:, :2]).prod(1)))


def shape_of(dataset: DetectionDataset, place: int) -> tuple[int, int]:
    """Height and width of an image. Raises DataError where they are neither annotated nor to be read."""
    height, width = dataset.sizes[place].tolist()
    return (height, width) if height else image_size(dataset.path(place), upright=dataset.pixels.upright)


def frame_of(dataset: DetectionDataset, place: int, recipe: Recipe) -> Frame:
    """Compute the part of an image that the network's input shows. Raises DataError if its size isn't known."""
    return recipe.input_size.whole(*shape_of(dataset, place))


def in_input(boxes: NDArray[np.float32], frame: Frame) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Convert an image's boxes (n, 4) to pixels of its input, clipped to it; also return which of them lie in it."""
    return keep_visible(frame.to_input(boxes), frame.size, drop_hidden=False)


def input_boxes(dataset: DetectionDataset, recipe: Recipe) -> NDArray[np.float32]:
    """Return (n, 4) all objects to find, without crowds and difficult ones, in pixels of the input, image by image.

    Those of images whose size isn't known are missing.
    """
    found = [np.zeros((0, 4), np.float32)]
    for place in range(len(dataset)):
        boxes, _, ignore = dataset.supervised(place)
        try:
            frame = frame_of(dataset, place, recipe)
        except DataError:
            continue
        found.append(in_input(boxes[~ignore], frame)[0])
    return np.concatenate(found)
