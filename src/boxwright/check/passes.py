"""The check of a data set: read annotations once, decode each image once, then derive everything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from boxwright.check.boxes import box_faults
from boxwright.check.duplicates import copied_images
from boxwright.check.hints import form_hints
from boxwright.check.images import ImageFacts, headers_of, image_faults, look_at_all
from boxwright.check.report import CheckReport, sorted_findings
from boxwright.check.splits import (
    base_splits,
    class_faults,
    count_splits,
    empty_images,
    members_of,
    shared_images,
)
from boxwright.check.training import training_faults
from boxwright.data.annotations import Annotations, place
from boxwright.data.images import PixelRule
from boxwright.data.layout import open_layout, open_with_splits
from boxwright.data.leftovers import leftovers
from boxwright.data.pictures import settle
from boxwright.data.readers.reader import ReaderOptions, ReaderPart
from boxwright.data.reading import ROUNDING, choose_classes
from boxwright.data.upright import Exif


def check_dataset(
    path: str | Path,
    *,
    classes: Sequence[str] | None = None,
    voc_one_based: bool | None = None,
    allow_links: bool = False,
    exif: Exif | None = None,
    depth_range: str = "data",
    max_pixels: int | None = None,
    reader: ReaderPart | None = None,
    group_by: str | None = None,
    split_file: str | Path | None = None,
    known: Mapping[str, ImageFacts] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Look for everything in a data set that would spoil training or evaluation; change and print nothing.

    The options that say how the data is read are those of ``boxwright.read_dataset``; a split that would be made is
    looked at where ``group_by`` or ``split_file`` is given.

    Args:
        path: The data set, in any layout that ``boxwright.read_dataset`` knows.
        classes: Look only at the boxes of these classes.
        voc_one_based: Whether VOC's coordinates begin at 1; None: decide from the data.
        allow_links: Follow links that lead out of the folder.
        exif: "apply", "boxes" or "ignore", as ``boxwright.read_dataset`` takes it; None: decide from the data.
        depth_range: Which values of pixels with more than 8 bits become 0 to 255.
        max_pixels: Refuse larger images; None: the default limit.
        reader: Your own function that reads the folder.
        group_by: The rule by which images stay together when a split is made.
        split_file: The file of a split to check.
        known: Facts of images that were decoded already, by their path relative to the data set.
        progress: Called with (images done, all images).

    Raises:
        DataError: If no data set is recognized there.
    """
    options = ReaderOptions(voc_one_based, allow_links, None, max_pixels, reader, group_by, split_file)
    asked_split = group_by is not None or split_file is not None
    source = open_with_splits(path, options) if asked_split else open_layout(path, options)
    table = source.read(source.splits if asked_split else ())
    if classes is not None:
        table = _of_classes(table, classes, Path(path))
    annotated = np.zeros_like(table.sizes) if table.fractions else table.sizes.copy()
    asked = PixelRule(exif, depth_range, max_pixels)
    facts = look_at_all(table, asked, known or {}, progress)
    settled = settle(source, table, asked, headers_of(facts))
    sizes = _decoded_sizes(table, facts)
    placed = place(table, sizes)
    counts = count_splits(table, placed)
    faults = [
        *table.faults,
        *table.notes,
        *leftovers(source, table),
        *source.examine(),
        *image_faults(table, annotated, settled, facts),
        *box_faults(table, placed, sizes),
        *form_hints(table, sizes, source),
        *copied_images(table, facts, members_of(base_splits(table.splits))),
        *shared_images(table, source),
        *class_faults(table, source, counts),
        *empty_images(table),
        *training_faults(table, placed, facts, source),
    ]
    rounded = int(((placed.overhang > 0) & (placed.overhang <= ROUNDING)).sum())
    return CheckReport(
        table.layout,
        table.classes,
        len(table.names),
        len(table.labels),
        rounded,
        counts,
        sorted_findings(faults),
    )


def _decoded_sizes(table: Annotations, facts: Sequence[ImageFacts | None]) -> NDArray[np.int32]:
    """Return the true sizes, or the annotated ones of images that cannot be decoded."""
    sizes = table.sizes.copy()
    for row, fact in enumerate(facts):
        if fact is not None and fact.fault is None:
            sizes[row] = fact.size
    return sizes


def _of_classes(table: Annotations, classes: Sequence[str], path: Path) -> Annotations:
    """Keep the boxes of some classes; those of unknown classes stay, to be reported."""
    names, labels = choose_classes(table, classes, path)
    kept = (labels >= 0) | (table.labels < 0)
    table.classes, table.labels = names, labels
    for column in ("image", "number", "xyxy", "xywh", "labels", "code", "areas", "annotation_ids", "fault"):
        setattr(table, column, getattr(table, column)[kept])
    return table
