"""The whole review: detections of a run, the ranked labels, the page and the correction list."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boxwright._util.ownership import claim
from boxwright.data import DetectionDataset, read_dataset
from boxwright.data.references import referred_files
from boxwright.errors import DataError, WriteError
from boxwright.evaluate import to_targets
from boxwright.hardest.corrections import check_untouched, list_corrections
from boxwright.hardest.detect import detect
from boxwright.hardest.evidence import collect_evidence
from boxwright.hardest.page import Witness, write_page
from boxwright.hardest.ranking import KINDS, Suspects, rank_evidence
from boxwright.runs import Run, load
from boxwright.runs.splits import split_file_for

SHOWN = 200
"""Number of suspects on the page and in the list."""


@dataclass(frozen=True)
class Review:
    """The result of a review, and where it was written."""

    dataset: DetectionDataset
    suspects: Suspects
    """Suspects by falling score: those shown, and all that are more probably wrong than right."""
    page: Path
    corrections: Path
    witness: Witness

    @property
    def likely(self) -> NDArray[np.int64]:
        """(5,) number of suspects of each of ``KINDS`` that are more probably wrong than right."""
        return np.bincount(self.suspects.kind[self.suspects.score > 0.5], minlength=len(KINDS))


def review_labels(
    data: str | Path,
    run: str | Path,
    split: str = "train",
    *,
    shown: int = SHOWN,
    out: Path | None = None,
    overwrite: bool = False,
    reading: Mapping[str, Any] | None = None,
    allow_links: bool = False,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Review:
    """Rank the labels of a split and write the page, and the correction list next to it (same name, .json).

    Args:
        data: The data set.
        run: The run whose detector is used.
        split: The split to review.
        shown: Number of suspects shown.
        out: The page; None: hardest.html in the run's folder.
        overwrite: Whether page and list may replace files that boxwright did not write; never those of run and data.
        reading: Values for ``voc_one_based``, ``exif`` and ``depth_range`` instead of the run's.
        allow_links: As in ``boxwright.read_dataset``.
        advance: Called with the number done and the total.

    Raises:
        DataError: If the data set cannot be used.
        RecipeError: If the run does not fit it.
        WriteError: If a file cannot be written.
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
    parted_by = split_file_for(Run.of(run), data, reader=options["reader"], allow_links=allow_links)
    dataset = read_dataset(data, split, classes=recipe.classes, split_file=parted_by, **options)
    if not dataset.has_images:
        raise DataError(f"{dataset.root}: there is none of the images that split {dataset.split!r} names")
    found, faults = detect(detector, dataset, advance=lambda done: advance(done, len(dataset)))
    evidence = collect_evidence(found, to_targets(dataset), len(dataset.classes), unseen=faults)
    suspects = rank_evidence(evidence, found, dataset, shown)
    top = suspects.take(slice(shown))
    witness = Witness(
        run=Run.of(run).folder.name,
        score=recipe.score,
        confirmed=evidence.confirmed,
        labels=int(evidence.judged.sum()),
        unseen={dataset.name(place): fault for place, fault in faults.items()},
    )
    listed = list_corrections(top, dataset, recipe)
    listed.write(listing, overwrite=overwrite)
    write_page(page, top, dataset, found, listed, witness, overwrite=overwrite)
    return Review(dataset, suspects, page, listing, witness)
