"""From a folder to a ``DetectionDataset``: the one function that training and evaluation call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boxwright._util.reading import escaped
from boxwright.data.annotations import (
    SOUND,
    Annotations,
    Fault,
    Placed,
    box_fault,
    erroneous_regions,
    hopeless,
    hopeless_fault,
    place,
    select,
)
from boxwright.data.dataset import DetectionDataset, LeftOut, Regions
from boxwright.data.files import Strings
from boxwright.data.images import PixelRule, image_size
from boxwright.data.layout import open_with_splits
from boxwright.data.made_splits import SplitReader, hashed_fraction
from boxwright.data.pictures import settle
from boxwright.data.readers.reader import Reader, ReaderOptions, ReaderPart
from boxwright.data.splits import HASHED, find_split
from boxwright.data.upright import Exif
from boxwright.errors import DataError
from boxwright.text import did_you_mean

ROUNDING = 1.0
"""Pixels by which a box may leave its image as mere rounding."""


class NoImagesError(DataError):
    """There is no image, in the data or in a split of it."""


class TooFewImagesError(NoImagesError):
    """Data without splits of its own has too few images to make them."""


def read_dataset(
    path: str | Path,
    split: str | None = None,
    *,
    classes: Sequence[str] | None = None,
    negatives: str = "keep",
    voc_one_based: bool | None = None,
    allow_links: bool = False,
    exif: Exif | None = None,
    depth_range: str = "data",
    max_pixels: int | None = None,
    reader: ReaderPart | None = None,
    group_by: str | None = None,
    split_file: str | Path | None = None,
) -> DetectionDataset:
    """Read a data set in any of the layouts that docs/data.md lists.

    Erroneous boxes and files are left out and listed in ``left_out``, and so are images all of whose boxes are
    erroneous; of the others, ``regions`` holds what the erroneous boxes cover. Images are not decoded.

    Args:
        path: Folder of the data set.
        split: Name of a split; None for all images. Data without splits is split 80 / 10 / 10 into train, val and test
            by the hash of the file names, class by class, keeping groups together; with fewer than three groups all are
            train.
        classes: Only these, in this order.
        negatives: Images without objects: "keep", "drop", or "ratio:0.1" for at most 0.1 per image with objects.
        voc_one_based: Whether VOC boxes count pixels from 1; None: if their <source><database> is Pascal VOC's.
        allow_links: Follow links, and paths in data.yaml, out of the folder; ``left_out.links`` lists where they lead.
        exif: "apply": images are turned upright, and boxes were drawn on upright images; "boxes": boxes were drawn on
            the stored pixels, unless the annotated size is the upright one, and are turned with them; "ignore": nothing
            is turned; None: "apply" or "boxes", depending on the annotated sizes.
        depth_range: Which values of pixels with more than 8 bits become 0 to 255: "data", the range of the training
            images; "image", each image's own; or "LOW,HIGH".
        max_pixels: Larger images are refused; None: Pillow's limit, 89,478,485.
        reader: Your own function that reads the folder, see docs/own-parts.md.
        group_by: What stays together where data without splits is split, besides byte-identical images: "folder",
            "near" (nearly identical images; None: these, up to 20,000 images) or a regular expression on the path,
            whose first group is the name: ``(cam[0-9]+)_``.
        split_file: A JSON file, or a run, that names the images of each split, instead of the data's own splits.

    Raises:
        DataError: If the folder, the split or a class does not exist, no image is left, or ``reader`` fails.

    Examples:
        >>> dataset = bw.read_dataset("data", "train")
        >>> len(dataset), dataset.classes
        (2, ('cat', 'dog'))
    """
    share = _negative_share(negatives)
    source = open_with_splits(
        path, ReaderOptions(voc_one_based, allow_links, None, max_pixels, reader, group_by, split_file)
    )
    name = None if split is None else find_split(source.splits, split, Path(path))
    table = _read(source, name)
    if not table.names:
        raise _no_images(path, name, source, table)
    faults = list(table.faults)
    if table.there.any():
        table = _without_missing(table, faults)
    rule, turned = settle(source, table, PixelRule(exif, depth_range, max_pixels))
    placed = _place_truly(table, rule)
    bad = np.flatnonzero(placed.fault != SOUND).tolist()
    faults += [box_fault(table, row, int(placed.fault[row])) for row in bad]
    lost = hopeless(table, placed)
    faults += [hopeless_fault(table, row) for row in lost.tolist()]
    names, labels = choose_classes(table, classes, Path(path))
    kept = np.flatnonzero((placed.fault == SOUND) & (labels >= 0))
    images = _with_negatives(table, np.delete(np.arange(len(table.names)), lost), kept, share)
    left_out = LeftOut(
        tuple(faults),
        int(((placed.overhang > 0) & (placed.overhang <= ROUNDING)).sum()),
        int((placed.overhang > ROUNDING).sum()),
        len(table.names) - len(lost) - len(images),
        tuple(sorted(source.tree.links.items())) if allow_links else (),
        int(turned.sum()),
    )
    dataset = _pack(table, placed, name, names, labels, kept, rule, left_out)
    return dataset if len(images) == len(dataset) else dataset.subset(images)


def _no_images(path: str | Path, split: str | None, reader: Reader, table: Annotations) -> NoImagesError:
    if table.faults:
        where = f" in split {split!r}" if split else ""
        return NoImagesError(f"{path}: no images{where} ({table.faults[0].file}: {table.faults[0].message})")
    if split in HASHED[1:] and isinstance(reader, SplitReader) and reader.file is None:
        return TooFewImagesError(
            f"{path}: no images in split {split!r}: the data has no splits of its own, and they are made of three "
            "distinct images or more: all are in split 'train'"
        )
    return NoImagesError(f"{path}: no images{f' in split {split!r}' if split else ''}")


def _read(reader: Reader, split: str | None) -> Annotations:
    """The table of one split, or of all images; ids of data without ids are places in it."""
    table = reader.read((split,) if split else ())
    if split:
        chosen = table.splits.get(split, np.zeros(0, np.int64))
        table = select(table, chosen) if len(chosen) < len(table.names) else replace(table, splits={})
    if reader.layout != "coco":
        table.image_ids = np.arange(1, len(table.names) + 1)
        table.annotation_ids = np.arange(1, len(table.labels) + 1)
    return table


def _without_missing(table: Annotations, faults: list[Fault]) -> Annotations:
    missing = np.flatnonzero(~table.there)
    faults += [missing_image(table, row) for row in missing.tolist()]
    return select(table, np.flatnonzero(table.there)) if len(missing) else table


def missing_image(table: Annotations, row: int) -> Fault:
    """The fault of an image that is not there."""
    return Fault("missing-image", table.files[row], None, f"no image {escaped(table.names[row])}")


def _place_truly(table: Annotations, rule: PixelRule) -> Placed:
    """Place the boxes; sizes that are unknown, or that a box leaves, become those of the image's header."""
    placed = place(table, table.sizes)
    doubtful = np.zeros(len(table.sizes), np.bool_)
    doubtful[table.image[(placed.overhang > 0) | (placed.fault != table.fault)]] = True
    doubtful |= (table.sizes <= 0).any(1)
    before = table.sizes.copy()
    for row in np.flatnonzero(doubtful & table.there):
        try:
            path = table.root / table.paths[row]
            table.sizes[row] = image_size(path, upright=rule.upright, max_pixels=rule.max_pixels)
        except DataError:  # decoding meets and reports it again
            continue
    return placed if np.array_equal(before, table.sizes) else place(table, table.sizes)


def choose_classes(
    table: Annotations, classes: Sequence[str] | None, path: Path
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The classes asked for, and each box's label among them (-1 for none)."""
    if classes is None:
        return table.classes, table.labels
    for name in classes:
        if name not in table.classes:
            raise DataError(f"{path}: no class {name!r}{did_you_mean(name, table.classes)}")
    if len(set(classes)) < len(classes):
        raise DataError(f"{path}: Expected distinct classes but got {', '.join(classes)}")
    places = np.full(len(table.classes) + 1, -1, np.int64)  # the last is for boxes without a label
    places[[table.classes.index(name) for name in classes]] = np.arange(len(classes))
    return tuple(classes), places[table.labels]


def _negative_share(negatives: str) -> float | None:
    """Negatives allowed to each image with objects; None for all."""
    kind, _, number = negatives.partition(":")
    if kind in ("keep", "drop") and not number:
        return None if kind == "keep" else 0.0
    try:
        share = float(number) if kind == "ratio" else -1.0
    except ValueError:
        share = -1.0
    if not 0 <= share < float("inf"):
        raise DataError(f"Expected negatives to be keep, drop or ratio:<number> (ratio:0.1) but got {negatives!r}")
    return share


def _with_negatives(
    table: Annotations, rows: NDArray[np.int64], boxes: NDArray[np.int64], share: float | None
) -> NDArray[np.int64]:
    """Which of some images stay; which negatives do is decided by the hash of their names."""
    if share is None:
        return rows
    positive = np.zeros(len(table.names), np.bool_)
    positive[table.image[boxes]] = True
    empty = sorted(rows[~positive[rows]].tolist(), key=lambda row: hashed_fraction(table.names[row]))
    positive[empty[: int(share * positive.sum())]] = True
    return np.flatnonzero(positive)


def _regions(table: Annotations, placed: Placed, labels: NDArray[np.int64]) -> Regions:
    """Return the regions that erroneous boxes cover, but for those of classes that aren't asked for."""
    rows, boxes = erroneous_regions(table, placed, table.sizes)
    asked = (labels[rows] >= 0) | (table.labels[rows] < 0)
    return Regions.of(table.image[rows[asked]], boxes[asked], labels[rows[asked]], len(table.names))


def _pack(
    table: Annotations,
    placed: Placed,
    split: str | None,
    classes: tuple[str, ...],
    labels: NDArray[np.int64],
    kept: NDArray[np.int64],
    rule: PixelRule,
    left_out: LeftOut,
) -> DetectionDataset:
    names = Strings.pack(map(escaped, table.names))
    counts = np.bincount(table.image[kept], minlength=len(table.names))
    own_ids = table.layout == "coco"
    return DetectionDataset(
        root=table.root,
        layout=table.layout,
        split=split,
        classes=classes,
        names=names,
        paths=names if table.paths == table.names and all(map(str.isascii, table.names)) else Strings.pack(table.paths),
        files=Strings.pack(table.files),
        sizes=table.sizes,
        image_ids=table.image_ids,
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes=placed.boxes[kept],
        labels=labels[kept],
        code=table.code[kept],
        xywh=table.xywh[kept],
        areas=table.areas[kept],
        annotation_ids=table.annotation_ids[kept],
        numbers=table.number[kept],
        category_ids=table.category_ids[[table.classes.index(name) for name in classes]]
        if own_ids
        else np.arange(1, len(classes) + 1),
        has_images=bool(table.there.any()),
        left_out=left_out,
        regions=_regions(table, placed, labels),
        pixels=rule,
    )
