"""The whole review: detections of a run, or out of fold, the ranked labels, the page and the correction list."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from boxwright._util.ownership import claim
from boxwright.data import DetectionDataset, read_dataset
from boxwright.data.references import referred_files
from boxwright.errors import DataError, WriteError
from boxwright.evaluate import DetectionColumns, to_detections
from boxwright.hardest.corrections import check_untouched, list_corrections
from boxwright.hardest.folds import predict_out_of_fold
from boxwright.hardest.page import write_page
from boxwright.hardest.ranking import KINDS, Suspects, rank_labels
from boxwright.models.detector import Detector
from boxwright.runs import Run, load
from boxwright.runs.predict import predict_dataset

SHOWN = 200
"""Suspects on the page and in the list."""


@dataclass(frozen=True)
class Review:
    """What a review found, and where it was written."""

    dataset: DetectionDataset
    suspects: Suspects
    """All of them, by falling score."""
    page: Path
    corrections: Path
    faults: dict[str, str]
    """Images that couldn't be read, and why."""

    @property
    def likely(self) -> NDArray[np.int64]:
        """(5,) suspects of each of ``KINDS`` that are more probably wrong than right."""
        return np.bincount(self.suspects.kind[self.suspects.score > 0.5], minlength=len(KINDS))


def review_labels(
    data: str | Path,
    run: str | Path,
    split: str = "train",
    *,
    folds: int = 0,
    shown: int = SHOWN,
    out: Path | None = None,
    overwrite: bool = False,
    reading: Mapping[str, Any] | None = None,
    allow_links: bool = False,
    console: Console | None = None,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Review:
    """Rank the labels of a split and write the page, and the correction list beside it (the same name, .json).

    Args:
        folds: how many detectors to train, each on all but its part of the images; 0: the run's own detections, which
            may repeat an error of the labels that it learnt by heart.
        out: the page; None: hardest.html in the run's folder.
        overwrite: whether page and list may replace files that boxwright didn't write; never those of run and data.
        allow_links: as in :func:`boxwright.read_dataset`.
        reading: values for ``voc_one_based``, ``exif`` and ``depth_range`` instead of the run's.

    Raises DataError, RecipeError and WriteError.
    """
    page = out or Run.of(run).folder / "hardest.html"
    listing = page.with_suffix(".json")
    if listing == page:
        raise WriteError(f"Expected a page, {page.stem}.html say, but got {page}: the list beside it has that name")
    given = {key: value for key, value in (reading or {}).items() if value is not None}
    recipe = Run.of(run).recipe.replace(**given)
    options = recipe.reader_options | {"allow_links": allow_links}
    read = referred_files(data, allow_links=allow_links, reader=options["reader"])
    claim(page, listing, overwrite=overwrite, inputs=chain(Run.of(run).files, read))
    if not overwrite:
        check_untouched(listing)
    detector = load(run)
    dataset = read_dataset(data, split, classes=recipe.classes, **options)
    if not dataset.has_images:
        raise DataError(f"{dataset.root}: there is none of the images that split {dataset.split!r} names")
    found, faults = _detect(detector, run, dataset, folds, console or Console(quiet=True), advance)
    suspects = rank_labels(found, dataset)
    listed = list_corrections(suspects.take(slice(shown)), dataset, recipe)
    listed.write(listing, overwrite=overwrite)
    origin = f"{folds} detectors, each on images it was not trained on" if folds else f"run {Run.of(run).folder.name}"
    top = suspects.take(slice(shown))
    write_page(page, top, dataset, found, listed, score=recipe.score, origin=origin, overwrite=overwrite)
    return Review(dataset, suspects, page, listing, faults)


def _detect(
    detector: Detector,
    run: str | Path,
    dataset: DetectionDataset,
    folds: int,
    console: Console,
    advance: Callable[[int, int], None],
) -> tuple[DetectionColumns, dict[str, str]]:
    if folds:
        return predict_out_of_fold(run, dataset, folds, console=console, advance=advance), {}
    found, faults = predict_dataset(detector, dataset, advance=lambda done: advance(done, len(dataset)))
    return to_detections(found), faults
