"""The correction list: what is suspected, in a file to accept from, and the annotations with what was accepted."""

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
    """Whether ``correct`` is to carry it out."""
    score: float
    kind: str
    """One of ``KINDS``."""
    image: str
    """As the data set names it."""
    file: str
    """The annotation file, relative to the data set."""
    box: int | None
    """0-based place of the box in that file, as ``boxwright check`` counts; None for a missing box."""
    class_name: str | None = msgspec.field(name="class")
    bbox: tuple[float, float, float, float] | None
    suggested_class: str | None
    """None where the box should go."""
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
        """Write the JSON file. Raises WriteError, also for a file of people's, unless it is to ``overwrite`` it."""
        claim(path, overwrite=overwrite)
        if not overwrite:
            check_untouched(path)
        write_json(path, msgspec.to_builtins(self), indent=1)


@dataclass(frozen=True)
class Corrected:
    """What became of a correction list."""

    dataset: DetectionDataset
    changed: int
    added: int
    removed: int


def list_corrections(suspects: Suspects, dataset: DetectionDataset, recipe: Recipe | None = None) -> Corrections:
    """The suspects of ``rank_labels`` as a list, in their order; ``recipe`` says how the data was read. Nothing is
    accepted yet."""
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
    """A sentence on each suspect: what the model sees, and what the label says."""
    return [_describe(suspects.take(slice(row, row + 1)), classes) for row in range(len(suspects))]


def _describe(suspect: Suspects, classes: Sequence[str]) -> str:
    kind, label, better = (int(column[0]) for column in (suspect.kind, suspect.label, suspect.suggested_label))
    confidence, overlap = f"{suspect.confidence[0]:.2f}", f"{suspect.overlap[0]:.2f}"
    if kind == MISSING:
        nearest = f"; the nearest label overlaps it by {overlap}" if suspect.overlap[0] >= 0.005 else ""
        return f"{classes[better]} found with {confidence} where there is no label{nearest}."
    if kind == WRONG_CLASS:
        return f"Labelled {classes[label]}, but {classes[better]} was found on it with {confidence}."
    if kind == SHIFTED:
        return (
            f"The {classes[label]} found here with {confidence} overlaps its label by {overlap}, "
            f"less than is usual of {classes[label]}."
        )
    if kind == DUPLICATE:
        return f"Overlaps another label by {overlap}, with no second object found."
    return f"Labelled {classes[label]}, but nothing was found here that fits."


def check_untouched(path: Path) -> None:
    """Raise WriteError where there is a list in which corrections were accepted: it is people's, whoever began it."""
    try:
        accepted = any(item.accepted for item in read_corrections(path).corrections)
    except DataError:  # no list, or none of ours
        return
    if accepted:
        raise WriteError(f"{path} has accepted corrections: write elsewhere, or add --overwrite")


def read_corrections(path: Path) -> Corrections:
    """Raises DataError where the file can't be read or is no correction list."""
    try:
        return msgspec.convert(json.loads(read_regular(path)), type=Corrections)
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror})") from None
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a correction list of boxwright hardest ({error})") from None


def correct(
    data: str | Path, corrections: Path, out: Path, *, allow_links: bool = False, overwrite: bool = False
) -> Corrected:
    """Write the split that the list is about, with what was accepted carried out, as a new COCO file.

    Nothing of the data set is changed. Boxes that reading left out are not in the new file, and masks are not either.
    Raises DataError where the list doesn't fit the data; RecipeError for a reader whose module isn't imported;
    WriteError where ``out`` is there already, unless it is to ``overwrite`` it, and in any case where it is the list or
    a file of the data set.
    """
    if out.exists() and not overwrite:  # even boxwright's own: people may have worked on it
        raise WriteError(f"{out} is there already: name another file with --out, or add --overwrite")
    claim(out, overwrite=overwrite, inputs=[corrections])
    asked = read_corrections(corrections)
    reader = resolve_choice("reader", asked.reader)
    claim(out, overwrite=overwrite, inputs=referred_files(data, allow_links=allow_links, reader=reader))
    options: dict[str, Any] = {"voc_one_based": asked.voc_one_based, "exif": asked.exif, "depth_range": "image"}
    options |= {"allow_links": allow_links, "reader": reader}
    dataset = read_dataset(data, asked.split, classes=asked.classes, **options)
    result = apply_corrections(asked.corrections, dataset)
    write_json(out, result.dataset.coco_json(), indent=None)  # unsigned: it is data, which readers are to take
    return result


def apply_corrections(corrections: Sequence[Correction], dataset: DetectionDataset) -> Corrected:
    """The data set with the accepted ones carried out: boxes changed, removed, added (these come last in their image).

    Raises DataError for an image, a box or a class that the data set doesn't have.
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
    """The data set with a box for each of ``owner``, those after its own being new, without those that aren't kept."""
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
