"""The correction list: suspects in a file in which people accept corrections, and the corrected annotations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from boxwright._util.ownership import GENERATOR, claim
from boxwright._util.reading import read_regular
from boxwright._util.writing import write_json
from boxwright.choices import resolve_choice
from boxwright.data import DetectionDataset, read_dataset
from boxwright.data.references import referred_files
from boxwright.errors import DataError, WriteError
from boxwright.evaluate.columns import Bools, Ints
from boxwright.hardest.ranking import DUPLICATE, KINDS, MISSING, SHIFTED, WRONG_CLASS, Suspects
from boxwright.recipes import Recipe
from boxwright.text import did_you_mean


class Correction(msgspec.Struct, kw_only=True):
    """One suspect in words and numbers. Boxes are COCO's [x, y, width, height] in pixels."""

    accepted: bool = False
    """Whether ``correct`` should apply it."""
    score: float
    kind: str
    """One of ``KINDS``."""
    image: str
    """Name of the image in the data set."""
    file: str
    """The annotation file, relative to the data set."""
    box: int | None
    """0-based index of the box in that file, as ``boxwright check`` counts; None for a missing box."""
    class_name: str | None = msgspec.field(name="class")
    bbox: tuple[float, float, float, float] | None
    suggested_class: str | None
    """None if the box should be removed."""
    suggested_bbox: tuple[float, float, float, float] | None
    reason: str


class Corrections(msgspec.Struct, kw_only=True):
    """The list, and how the data set was read."""

    generator: str = GENERATOR
    split: str | None
    classes: list[str]
    reader: str = "auto"
    voc_one_based: bool | None = None
    exif: Literal["apply", "ignore", "boxes"] | None = None
    corrections: list[Correction]

    def write(self, path: Path, *, overwrite: bool = False) -> None:
        """Write the JSON file.

        Raises:
            WriteError: If it cannot be written, or people edited or wrote the old file and ``overwrite`` is False.
        """
        claim(path, overwrite=overwrite)
        if not overwrite:
            check_untouched(path)
        write_json(path, msgspec.to_builtins(self), indent=1)


@dataclass(frozen=True)
class Corrected:
    """The result of applying a correction list."""

    dataset: DetectionDataset
    changed: int
    added: int
    removed: int


def list_corrections(suspects: Suspects, dataset: DetectionDataset, recipe: Recipe | None = None) -> Corrections:
    """List the suspects of ``rank_labels`` in their order, none accepted yet; ``recipe`` says how the data was read."""
    reasons = describe(suspects, dataset.classes)
    rows = range(len(suspects))
    return Corrections(
        split=dataset.split,
        classes=list(dataset.classes),
        reader="auto" if recipe is None else recipe.reader,
        voc_one_based=None if recipe is None else recipe.voc_one_based,
        exif=dataset.pixels.exif,
        corrections=[_correction(suspects, row, dataset, reason) for row, reason in zip(rows, reasons, strict=True)],
    )


def _correction(suspects: Suspects, row: int, dataset: DetectionDataset, reason: str) -> Correction:
    image, box, better = int(suspects.image[row]), int(suspects.box[row]), int(suspects.suggested_label[row])
    x1, y1, x2, y2 = suspects.suggested_box[row].tolist()
    moved = suspects.kind[row] in (MISSING, SHIFTED)
    bbox = None if box < 0 else tuple(dataset.xywh[box].tolist())
    suggested = (x1, y1, x2 - x1, y2 - y1) if moved else bbox
    return Correction(
        score=round(float(suspects.score[row]), 4),
        kind=KINDS[suspects.kind[row]],
        image=dataset.name(image),
        file=dataset.files[image],
        box=None if box < 0 else int(dataset.numbers[box]),
        class_name=None if box < 0 else dataset.classes[suspects.label[row]],
        bbox=bbox,
        suggested_class=None if better < 0 else dataset.classes[better],
        suggested_bbox=None if better < 0 or suggested is None else tuple(round(value, 2) for value in suggested),
        reason=reason,
    )


def describe(suspects: Suspects, classes: Sequence[str]) -> list[str]:
    """Describe each suspect in a sentence: what the model sees, and what the label says."""
    return [_describe(suspects.take(slice(row, row + 1)), classes) for row in range(len(suspects))]


def _describe(suspect: Suspects, classes: Sequence[str]) -> str:
    kind, label, better = (int(column[0]) for column in (suspect.kind, suspect.label, suspect.suggested_label))
    confidence, overlap = f"{suspect.confidence[0]:.2f}", f"{suspect.overlap[0]:.2f}"
    if kind == MISSING:
        nearest = f"; the nearest label overlaps it by {overlap}" if suspect.overlap[0] >= 0.005 else ""
        return f"{classes[better]} found with {confidence} where there is no label{nearest}."
    if kind == WRONG_CLASS:
        return f"Labeled {classes[label]}, but {classes[better]} was found on it with {confidence}."
    if kind == SHIFTED:
        return (
            f"The {classes[label]} found here with {confidence} overlaps its label by {overlap}, "
            f"less than is usual of {classes[label]}."
        )
    if kind == DUPLICATE:
        return f"Overlaps another label by {overlap}, with no second object found."
    return f"Labeled {classes[label]}, but nothing was found here that fits."


def check_untouched(path: Path) -> None:
    """Raise WriteError for a list in which corrections were accepted, since that is people's work."""
    try:
        accepted = any(item.accepted for item in read_corrections(path).corrections)
    except DataError:  # no list, or not one of ours
        return
    if accepted:
        raise WriteError(f"{path} has accepted corrections: write elsewhere, or add --overwrite")


def read_corrections(path: Path) -> Corrections:
    """Read a correction list; raises DataError if the file cannot be read or is not one."""
    try:
        return msgspec.convert(json.loads(read_regular(path)), type=Corrections)
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror})") from None
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a correction list of boxwright hardest ({error})") from None


def correct(
    data: str | Path, corrections: Path, out: Path, *, allow_links: bool = False, overwrite: bool = False
) -> Corrected:
    """Write the split that the list is about as a new COCO file with the accepted corrections applied.

    The data set itself is not changed. The new file has neither masks nor boxes that reading left out.

    Raises:
        DataError: If the list does not fit the data.
        RecipeError: For a reader whose module is not imported.
        WriteError: If ``out`` exists and ``overwrite`` is False, and in any case if it is the list or a file of the
            data set.
    """
    if out.exists() and not overwrite:  # even boxwright's own: people may have edited it
        raise WriteError(f"{out} is there already: name another file with --out, or add --overwrite")
    claim(out, overwrite=overwrite, inputs=[corrections])
    asked = read_corrections(corrections)
    reader = resolve_choice("reader", asked.reader)
    claim(out, overwrite=overwrite, inputs=referred_files(data, allow_links=allow_links, reader=reader))
    options: dict[str, Any] = {"voc_one_based": asked.voc_one_based, "exif": asked.exif, "depth_range": "image"}
    options |= {"allow_links": allow_links, "reader": reader}
    dataset = read_dataset(data, asked.split, classes=asked.classes, **options)
    result = apply_corrections(asked.corrections, dataset)
    write_json(out, result.dataset.coco_json(), indent=None)  # unsigned: it is data for readers
    return result


def apply_corrections(corrections: Sequence[Correction], dataset: DetectionDataset) -> Corrected:
    """Apply the accepted corrections: boxes changed, removed, added (added ones come last in their image).

    Raises:
        DataError: For an image, a box or a class that the data set does not have.
    """
    accepted = [item for item in corrections if item.accepted]
    owner = np.repeat(np.arange(len(dataset)), np.diff(dataset.offsets))
    images = {dataset.name(place): place for place in range(len(dataset))}
    unknown = [item.image for item in accepted if item.image not in images]
    if unknown:
        raise DataError(f"{dataset.root}: no image {unknown[0]} in split {dataset.split!r}")
    places = {(dataset.files[owner[row]], number): row for row, number in enumerate(dataset.numbers.tolist())}
    new = [images[item.image] for item in accepted if item.box is None]
    fresh = iter(range(len(owner), len(owner) + len(new)))
    rows = [next(fresh) if item.box is None else _row(item, places, dataset) for item in accepted]
    kept = np.ones(len(owner) + len(new), np.bool_)
    removed = [row for row, item in zip(rows, accepted, strict=True) if row < len(owner) and not item.suggested_class]
    kept[removed] = False
    redrawn = {row: item for row, item in zip(rows, accepted, strict=True) if kept[row]}
    changed = _with_rows(dataset, np.concatenate([owner, np.array(new, np.int64)]), redrawn, kept)
    return Corrected(changed, len(redrawn) - len(new), len(new), int((~kept).sum()))


def _row(item: Correction, places: dict[tuple[str, int | None], int], dataset: DetectionDataset) -> int:
    row = places.get((item.file, item.box))
    if row is None:
        raise DataError(f"{dataset.root}: no box {item.box} of {item.file} in split {dataset.split!r}")
    if (dataset.classes[dataset.labels[row]], tuple(dataset.xywh[row].tolist())) != (item.class_name, item.bbox):
        raise DataError(f"{dataset.root}: box {item.box} of {item.file} has changed since the list was written")
    return row


def _with_rows(dataset: DetectionDataset, owner: Ints, redrawn: dict[int, Correction], kept: Bools) -> DetectionDataset:
    """Build the data set with a box for each of ``owner``, new ones at the end, without those that are not kept."""
    new = len(owner) - len(dataset.labels)
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(dataset, name), np.zeros((new, *getattr(dataset, name).shape[1:]))])
        for name in ("boxes", "labels", "code", "xywh", "areas")
    }
    ids = dataset.annotation_ids
    columns["annotation_ids"] = np.concatenate([ids, ids.max(initial=0) + 1 + np.arange(new)])
    columns["numbers"] = np.concatenate([dataset.numbers, np.full(new, -1)])
    for row, item in redrawn.items():
        x, y, width, height = item.suggested_bbox or (0.0, 0.0, 0.0, 0.0)
        columns["labels"][row] = _label(item, dataset.classes)
        if item.bbox != item.suggested_bbox:
            columns["xywh"][row] = x, y, width, height
            columns["boxes"][row] = x, y, x + width, y + height
            columns["areas"][row] = width * height
    order = np.argsort(owner, kind="stable")
    order = order[kept[order]]
    counts = np.bincount(owner[order], minlength=len(dataset))
    columns = {name: values[order].astype(getattr(dataset, name).dtype) for name, values in columns.items()}
    return replace(dataset, offsets=np.concatenate([[0], np.cumsum(counts)]), **columns)


def _label(item: Correction, classes: Sequence[str]) -> int:
    if item.suggested_class not in classes or item.suggested_bbox is None:
        where = item.image if item.box is None else f"{item.file} box {item.box}"
        hint = did_you_mean(str(item.suggested_class), classes)
        raise DataError(f"{where}: Expected a class and a suggested_bbox but got {item.suggested_class!r}{hint}")
    return classes.index(item.suggested_class)
