"""Rank labels and detections by how probably the label is wrong.

If a detector disagrees with a label, either may be wrong. How far the detector can be trusted is estimated from the
data: a detection's score is calibrated, class by class, to the share of such detections that have a label, and the
distance of a label from its detection is judged by how much labels of its class usually scatter. So all scores are on
one scale, and the only threshold is that of "the same object": IoU 0.5 as in VOC and COCO.

After confident learning (Northcutt et al. 2021, arXiv:1911.00068), whose thresholds are each class's own average, and
ObjectLab (Tkachenko et al. 2023, arXiv:2309.00832), whose overlooked, swapped and badly located boxes these are.

Shape shorthand: N detections, M labels, P overlapping pairs of both, n suspects.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from boxwright.data.dataset import DetectionDataset
from boxwright.evaluate import DetectionColumns, to_detections, to_targets
from boxwright.evaluate.columns import Bools, Floats, Ints
from boxwright.hardest.calibration import evidence_ratio, excess, explain
from boxwright.hardest.evidence import Evidence, OfDetections, collect_evidence, taken

KINDS = ("missing", "wrong-class", "shifted", "duplicate", "spurious")
"""Possible faults: an object without a label; a label of another class; a box away from its object; a second label on
an object; a label without an object.
"""

MISSING, WRONG_CLASS, SHIFTED, DUPLICATE, SPURIOUS = range(len(KINDS))


@dataclass(frozen=True, slots=True)
class Suspects:
    """Every label once, under its most probable fault, and every detection without a label; by falling score."""

    kind: Ints
    """(n,) index in ``KINDS``."""
    score: Floats
    """(n,) in 0..1: probability that the label is wrong in this way."""
    image: Ints
    """(n,) index in the data set."""
    box: Ints
    """(n,) row of the label in the data set, -1 for a missing one."""
    label: Ints
    """(n,) its class, -1 for a missing one."""
    detection: Ints
    """(n,) row of the detection that contradicts the label, -1 if there is none; for a duplicate, the one found."""
    overlap: Floats
    """(n,) IoU of the label and that detection; of a duplicate with the other label; of a missing box with a label."""
    confidence: Floats
    """(n,) the detection's score, 0 where there is none."""
    suggested_label: Ints
    """(n,) the class that it should have, -1 if the label should be removed."""
    suggested_box: Floats
    """(n, 4) xyxy, the box that it should have; its own if that is right or the label should be removed."""

    def __len__(self) -> int:
        return len(self.score)

    def take(self, rows: Ints | Bools | slice) -> Suspects:
        """Select rows by an index, a mask or a slice."""
        return Suspects(*(getattr(self, name)[rows] for name in self.__slots__))


def rank_labels(
    detections: Any, dataset: DetectionDataset, *, unseen: Collection[int] = (), most: int | None = None
) -> Suspects:
    """Rank every label, and every detection without one, by how probably the label is wrong.

    Crowds and difficult boxes are not suspected, and hide the detections on them.

    Args:
        detections: As ``boxwright.evaluate.to_detections`` accepts them, kept from a low score, in the order of the
            data set.
        dataset: The labels.
        unseen: Indices of the images that the detector could not read: their labels are not suspected.
        most: Return only this many, plus all that are more probably wrong than right; None: all.

    Raises:
        ValueError: If detections belong to another number of images or classes.
    """
    columns = to_detections(detections, num_images=len(dataset))
    evidence = collect_evidence(columns, to_targets(dataset), len(dataset.classes), unseen)
    return rank_evidence(evidence, columns, dataset, most)


def rank_evidence(
    evidence: Evidence, detections: DetectionColumns, dataset: DetectionDataset, most: int | None = None
) -> Suspects:
    """Rank as ``rank_labels`` does, from evidence already collected."""
    parts = _of_labels(evidence, detections, dataset), _of_detections(evidence.detections, detections, most)
    joined = Suspects(*(np.concatenate([getattr(part, name) for part in parts]) for name in Suspects.__slots__))
    order = np.lexsort((joined.overlap, -joined.score))
    return joined.take(order if most is None else order[: max(most, int((joined.score > 0.5).sum()))])


def _faults(evidence: Evidence, detections: DetectionColumns) -> Floats:
    """Estimate how probably each label is wrong in each way, (4, M), in the order of ``KINDS`` after missing.

    Its object may have a detection of its class, of another, or none. The last two count only as far as the detector
    knows the class: as often as it finds labels of that class. "None" on a label with a twin counts by their overlap.
    """
    seen, label = evidence.labels, evidence.targets.label
    away, known = np.zeros((2, len(label)))
    said = taken(detections.label, seen.other_detection, 0)
    ratios = np.stack(
        [
            evidence_ratio(seen.own, evidence.usual[label]),
            evidence_ratio(seen.other, evidence.usual[said]),
            np.ones(len(label)),
        ]
    )
    probable = np.zeros_like(ratios)
    for one in np.unique(label[evidence.judged]):
        rows = evidence.judged & (label == one)
        probable[:, rows] = explain(ratios[:, rows])
        average = probable[0, rows].mean()
        known[rows] = min(1.0, average / max(1 - average, 1e-9))
        rows &= seen.own_detection >= 0
        away[rows] = excess(np.cbrt(1 - seen.own_overlap[rows]))
    own, other, nothing = probable
    twin = seen.twin_overlap > 0
    return np.stack(
        [other * known, own * away * known, nothing * seen.twin_overlap, np.where(twin, 0.0, nothing * known)]
    )


def _of_labels(evidence: Evidence, detections: DetectionColumns, dataset: DetectionDataset) -> Suspects:
    """List the judged labels, each under its most probable fault, spurious if there is none."""
    targets, seen = evidence.targets, evidence.labels
    rows = np.flatnonzero(evidence.judged)
    parts = _faults(evidence, detections)[:, rows]
    kind = len(KINDS) - 1 - parts[::-1].argmax(0)
    nothing = np.full(len(seen.own), -1)
    detection, overlap = (
        np.stack(columns)[kind - 1, rows]
        for columns in (
            (seen.other_detection, seen.own_detection, seen.object_detection, nothing),
            (seen.other_overlap, seen.own_overlap, seen.twin_overlap, np.zeros(len(nothing))),
        )
    )
    label = targets.label[rows]
    said = taken(detections.label, detection, -1)
    moved = np.zeros((len(rows), 4))
    moved[detection >= 0] = detections.take(detection[detection >= 0]).xyxy()
    return Suspects(
        kind=kind,
        score=parts.sum(0),
        image=targets.image[rows],
        box=rows,
        label=label,
        detection=detection,
        overlap=overlap,
        confidence=taken(detections.score, detection, 0.0),
        suggested_label=np.select([kind == WRONG_CLASS, kind == SHIFTED], [said, label], -1),
        suggested_box=np.where((kind == SHIFTED)[:, None], moved, dataset.boxes[rows]),
    )


def _of_detections(shown: OfDetections, detections: DetectionColumns, most: int | None) -> Suspects:
    """List the detections that may show a missing label; ``most`` as in ``rank_labels``."""
    rows = np.flatnonzero(shown.missing > 0)
    if most is not None:
        order = rows[np.argsort(-shown.missing[rows], kind="stable")]
        rows = order[: max(most, int((shown.missing > 0.5).sum()))]
    found = detections.take(rows)
    none = np.full(len(rows), -1)
    return Suspects(
        kind=np.full(len(rows), MISSING),
        score=shown.missing[rows],
        image=found.image,
        box=none,
        label=none,
        detection=rows,
        overlap=shown.overlap[rows],
        confidence=found.score,
        suggested_label=found.label,
        suggested_box=found.xyxy(),
    )
