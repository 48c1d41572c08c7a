"""The data set that training and evaluation read: packed arrays, cheap to pass to workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from boxwright.data.annotations import CROWD, DIFFICULT, NORMAL, Fault
from boxwright.data.decoded import Decoded, Reduction
from boxwright.data.files import Strings
from boxwright.data.images import PixelRule, decode_reduced, read_header
from boxwright.errors import DataError
from boxwright.text import plural

__all__ = ["CROWD", "DIFFICULT", "NORMAL", "DetectionDataset", "LeftOut", "Target"]


class Target(NamedTuple):
    """The boxes of one image."""

    boxes: NDArray[np.float32]
    """(g, 4) xyxy, pixels of the image."""
    labels: NDArray[np.int64]
    """(g,) 0..K-1."""
    code: NDArray[np.uint8]
    """(g,) NORMAL, CROWD or DIFFICULT."""


@dataclass(frozen=True)
class Regions:
    """Areas of erroneous boxes, which count as neither objects nor background. Sorted by image."""

    offsets: NDArray[np.int64]
    """(n + 1,) regions of image i are ``offsets[i]:offsets[i + 1]``."""
    boxes: NDArray[np.float32]
    """(r, 4) xyxy, inside the image."""
    labels: NDArray[np.int64]
    """(r,) 0..K-1, or -1 if the class is unknown."""

    @classmethod
    def of(cls, image: NDArray[np.int64], boxes: NDArray[np.float32], labels: NDArray[np.int64], count: int) -> Regions:
        """Build regions from the row of each region's image, rising, and the number of images."""
        offsets = np.concatenate([[0], np.cumsum(np.bincount(image, minlength=count))]).astype(np.int64)
        return cls(offsets, boxes, labels)

    @classmethod
    def none(cls, count: int) -> Regions:
        """Build regions for ``count`` images without any."""
        return cls(np.zeros(count + 1, np.int64), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))

    def subset(self, rows: NDArray[np.int64]) -> Regions:
        """Select the regions of some images, in this order."""
        offsets, places = _spans(self.offsets, rows)
        return Regions(offsets, self.boxes[places], self.labels[places])

    def by_class(self, classes: int) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
        """Return each region's image row, box and class, with one of every class where it is unknown."""
        repeats = np.where(self.labels < 0, classes, 1)
        image = np.repeat(np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets)), repeats)
        each = [np.arange(classes) if label < 0 else np.array([label]) for label in self.labels.tolist()]
        return image, np.repeat(self.boxes, repeats, 0), np.concatenate([*each, np.zeros(0, np.int64)]).astype(np.int64)


@dataclass(frozen=True)
class LeftOut:
    """Images and boxes that reading left out of a data set or changed."""

    faults: tuple[Fault, ...] = ()
    """Erroneous files (``box`` None) and boxes, none of which is in the data set."""
    rounded: int = 0
    """Boxes that left their image by at most 1 px and were clipped."""
    clipped: int = 0
    """Boxes that left it by more and were clipped."""
    negatives: int = 0
    """Images without objects that ``negatives`` dropped."""
    links: tuple[tuple[str, str], ...] = ()
    """Links that were followed out of the folder, and where they lead."""
    turned: int = 0
    """Images whose boxes, drawn on the pixels as stored, were turned upright."""

    def summary(self) -> str:
        """Summarize in one line; empty if there is nothing to report."""
        files = Counter(fault.kind for fault in self.faults if fault.box is None)
        boxes = Counter(fault.kind for fault in self.faults if fault.box is not None)
        parts = [
            f"{plural(sum(kinds.values()), what)} left out ({', '.join(f'{n} {kind}' for kind, n in kinds.items())})"
            for kinds, what in ((files, "file"), (boxes, "box"))
            if kinds
        ]
        if self.clipped:
            parts.append(f"{plural(self.clipped, 'box')} clipped to the image by more than 1 px")
        if self.negatives:
            parts.append(f"{plural(self.negatives, 'image')} without objects dropped")
        parts += [f"{link} leads to {target}" for link, target in self.links[:3]]
        if len(self.links) > 3:
            parts.append(f"{len(self.links) - 3} more links lead out of the folder")
        if self.turned:
            parts.append(f"boxes of {plural(self.turned, 'image')} turned as EXIF says (exif=boxes)")
        return "; ".join(parts)


@dataclass(frozen=True)
class DetectionDataset:
    """n images, m boxes and K classes, read by ``boxwright.read_dataset``; boxes are sorted by image."""

    root: Path
    layout: str
    """ "voc", "coco" or "yolo"."""
    split: str | None
    classes: tuple[str, ...]
    names: Strings
    """Files as the data set names them: relative to ``root``, or COCO's ``file_name``."""
    paths: Strings
    """Files relative to ``root``."""
    files: Strings
    """Annotation file of each image, relative to ``root``."""
    sizes: NDArray[np.int32]
    """(n, 2) height and width as annotated, or from the image's header; 0 if unknown."""
    image_ids: NDArray[np.int64]
    """(n,) COCO's own; otherwise the 1-based position in the split's sorted file names."""
    offsets: NDArray[np.int64]
    """(n + 1,) boxes of image i are ``offsets[i]:offsets[i + 1]``."""
    boxes: NDArray[np.float32]
    """(m, 4) xyxy, pixels of the upright image, clipped to it."""
    labels: NDArray[np.int64]
    """(m,) 0..K-1."""
    code: NDArray[np.uint8]
    """(m,) NORMAL, CROWD or DIFFICULT; the latter two are ignored by matching."""
    xywh: NDArray[np.float64]
    """(m, 4) as annotated, for evaluation."""
    areas: NDArray[np.float64]
    """(m,) COCO's own, else width x height."""
    annotation_ids: NDArray[np.int64]
    numbers: NDArray[np.int64]
    """(m,) 0-based place of the box in its annotation file."""
    category_ids: NDArray[np.int64]
    """(K,) COCO's own, else label + 1."""
    has_images: bool
    """False if no image file exists: annotations alone are enough to evaluate results."""
    left_out: LeftOut
    regions: Regions
    """Regions of erroneous boxes."""
    pixels: PixelRule = field(default_factory=PixelRule)
    """Rule for decoding the images."""

    def __len__(self) -> int:
        return len(self.image_ids)

    def name(self, index: int) -> str:
        """Return the image's name in the data set."""
        return self.names[index]

    def path(self, index: int) -> Path:
        """Return the path of the image's file."""
        return self.root / self.paths[index]

    def decode(self, index: int) -> NDArray[np.uint8]:
        """Decode the image's pixels (H, W, 3).

        Raises:
            DataError: As ``boxwright.data.decode_image`` and ``check_frame`` do.
        """
        return self.decode_reduced(index, None).pixels

    def decode_reduced(self, index: int, reduction: Reduction | None) -> Decoded:
        """Decode the image at a size set by ``reduction``; None: in full. Raises DataError as ``decode`` does."""
        image = decode_reduced(self.path(index), self.pixels, reduction)
        self.check_frame(index, image.size)
        return image

    def check_frame(self, index: int, size: tuple[int, ...]) -> None:
        """Raise DataError if EXIF turned an image to ``size`` (H, W) and its annotated size is the stored one.

        Reading checks each image's header, but in a large data set only if it finds some turned images: for one that it
        missed, it is unknown what its boxes were drawn on.
        """
        annotated = tuple(self.sizes[index].tolist())
        if self.pixels.exif is not None or size == annotated or size != annotated[::-1]:
            return
        path = self.path(index)
        if read_header(path, self.pixels.max_pixels).turned != 1:
            text = "EXIF turns it, but its size is annotated as stored: --set exif=boxes where boxes were drawn on the"
            raise DataError(f"{path}: {text} stored pixels, exif=apply where they were drawn on the upright picture")

    def target(self, index: int) -> Target:
        """Return boxes, labels and codes of an image, as views."""
        span = slice(self.offsets[index], self.offsets[index + 1])
        return Target(self.boxes[span], self.labels[span], self.code[span])

    def supervised(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
        """Return boxes (g, 4), labels (g,) and ignore (g,) for training: those of ``target``, then the regions.

        Crowds, difficult boxes and regions are ignored; the label of a region of unknown class is 0.
        """
        boxes, labels, code = self.target(index)
        span = slice(self.regions.offsets[index], self.regions.offsets[index + 1])
        more = self.regions.labels[span]
        return (
            np.concatenate([boxes, self.regions.boxes[span]]),
            np.concatenate([labels, np.maximum(more, 0)]),
            np.concatenate([code != NORMAL, np.ones(len(more), np.bool_)]),
        )

    def subset(self, indices: ArrayLike) -> DetectionDataset:
        """Select images, in this order; ids stay the same."""
        rows = np.asarray(indices, np.int64)
        offsets, boxes = _spans(self.offsets, rows)
        names = Strings.pack(self.names[row] for row in rows)
        return replace(
            self,
            names=names,
            paths=names if self.paths is self.names else Strings.pack(self.paths[row] for row in rows),
            files=Strings.pack(self.files[row] for row in rows),
            sizes=self.sizes[rows],
            image_ids=self.image_ids[rows],
            offsets=offsets,
            boxes=self.boxes[boxes],
            labels=self.labels[boxes],
            code=self.code[boxes],
            xywh=self.xywh[boxes],
            areas=self.areas[boxes],
            annotation_ids=self.annotation_ids[boxes],
            numbers=self.numbers[boxes],
            regions=self.regions.subset(rows),
        )

    def coco_json(self) -> dict[str, Any]:
        """Return ground truth as COCO JSON; difficult boxes get ``difficult`` and ``ignore``, crowds ``iscrowd``."""
        owners = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        ids = self.annotation_ids
        if len(ids) and (ids.min() < 1 or len(np.unique(ids)) < len(ids)):
            ids = np.arange(1, len(ids) + 1)  # pycocotools takes a match with id 0 for none
        return {
            "images": [
                {"id": int(self.image_ids[row]), "file_name": self.name(row), "height": int(h), "width": int(w)}
                for row, (h, w) in enumerate(self.sizes)
            ],
            "categories": [
                {"id": int(number), "name": name} for number, name in zip(self.category_ids, self.classes, strict=True)
            ],
            "annotations": [
                *(self._coco_box(box, int(owner), int(ids[box])) for box, owner in enumerate(owners)),
                *self._coco_regions(int(ids.max(initial=0)) + 1),
            ],
        }

    def _coco_regions(self, first: int) -> Iterator[dict[str, Any]]:
        """Return the regions as crowds, which COCO's evaluation ignores as ours does."""
        columns = (column.tolist() for column in self.regions.by_class(len(self.classes)))
        for place, (image, (left, top, right, bottom), label) in enumerate(zip(*columns, strict=True)):
            yield {
                "id": first + place,
                "image_id": int(self.image_ids[image]),
                "file_name": self.name(image),
                "category_id": int(self.category_ids[label]),
                "category": self.classes[label],
                "bbox": [left, top, right - left, bottom - top],
                "area": (right - left) * (bottom - top),
                "iscrowd": 1,
            }

    def _coco_box(self, box: int, image: int, number: int) -> dict[str, Any]:
        label, difficult = int(self.labels[box]), int(self.code[box] == DIFFICULT)
        return {
            "id": number,
            "image_id": int(self.image_ids[image]),
            "file_name": self.name(image),
            "category_id": int(self.category_ids[label]),
            "category": self.classes[label],
            "bbox": self.xywh[box].tolist(),
            "area": float(self.areas[box]),
            "iscrowd": int(self.code[box] == CROWD),
            "ignore": difficult,
            "difficult": difficult,
        }


def _spans(offsets: NDArray[np.int64], rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Compute new offsets, and the indices of everything that belongs to these rows, in their order."""
    counts = np.diff(offsets)[rows]
    new = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return new, np.repeat(offsets[rows] - new[:-1], counts) + np.arange(new[-1])
