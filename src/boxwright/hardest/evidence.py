"""Evidence of a detector at each label, image by image, so that memory does not grow with the overlaps.

Shape shorthand: N detections, M labels, P overlapping pairs of both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from boxwright.evaluate import DetectionColumns, TargetColumns, match_detections, overlapping_pairs
from boxwright.evaluate.columns import Bools, Floats, Ints, check_columns
from boxwright.evaluate.matches import Pairs
from boxwright.hardest.calibration import calibrated

SAME_OBJECT = 0.5
_AT_ONCE = 32
"""Images handled together: a hundred detections in each make 10,000 pairs, about 10 MiB."""
_OF_A_LABEL = tuple(name for name in TargetColumns.__slots__ if name != "image_rank")


class OfLabels(NamedTuple):
    """The evidence at each label. Detections are given as rows, -1 for none."""

    own: Floats
    """(M,) confidence of the detection that fits it best: of its class, with no nearer label, each containing the
    other's center.
    """
    own_detection: Ints
    own_overlap: Floats
    """(M,) their IoU."""
    other: Floats
    """(M,) confidence of the surest detection of another class on its object."""
    other_detection: Ints
    other_overlap: Floats
    twin_overlap: Floats
    """(M,) IoU with a label on the same object that has more evidence; 0 if there is none."""
    object_detection: Ints
    """(M,) the surest detection on its object."""


_OF_LABELS = (float, int, float, float, int, float, float, int)
"""Types of these columns."""


class OfDetections(NamedTuple):
    """Evidence of each detection for an object without a label."""

    missing: Floats
    """(N,) the probability of that."""
    overlap: Floats
    """(N,) highest IoU with a label, or share inside a crowd."""


class Evidence(NamedTuple):
    """Everything that the ranking of labels uses."""

    targets: TargetColumns
    judged: Bools
    """(M,) labels that are neither crowd nor difficult, in images that were read."""
    labels: OfLabels
    detections: OfDetections
    usual: Floats
    """(K,) mean confidence of each class's detections."""
    confirmed: int
    """Number of judged labels confirmed by a detection that is more probably right than not."""


class _Part(NamedTuple):
    """Some of the images: their detections and labels, and the positions of these among all."""

    rows: Ints
    detections: DetectionColumns
    label_rows: Ints
    targets: TargetColumns
    judged: Bools


def collect_evidence(
    detections: DetectionColumns, targets: TargetColumns, classes: int, unseen: Collection[int] = ()
) -> Evidence:
    """Compare detections with labels; images in ``unseen`` (indices in the data set) give no evidence.

    Raises:
        ValueError: If detections belong to other images or classes, or a number is not finite.
    """
    check_columns(detections, targets, classes)
    judged = ~(targets.crowd | targets.difficult) & ~np.isin(targets.image, np.array([*unseen], np.int64))
    parts = _split(detections, targets, judged)
    right, hit_by = np.zeros(len(detections), np.bool_), np.full(len(targets), -1)
    for part in parts():
        table = match_detections(part.detections, part.targets, classes, iou_thresholds=(SAME_OBJECT,))
        hits = table.right(SAME_OBJECT)
        right[part.rows[table.detection[hits]]] = True
        hit_by[part.label_rows[table.target[hits, 0]]] = part.rows[table.detection[hits]]
    sure, usual = np.zeros(len(detections)), np.full(classes, 0.5)
    for label in np.unique(detections.label):
        rows = detections.label == label
        sure[rows] = calibrated(detections.score[rows], right[rows])
        usual[label] = min(float(sure[rows].mean()), 0.5)
    confirmed = int((taken(sure, hit_by, 0.0)[judged] > 0.5).sum())
    labels = [np.zeros(len(targets), kind) for kind in _OF_LABELS]
    shown = [np.zeros(len(detections)) for _ in OfDetections._fields]
    for part in parts():
        of_labels, of_detections = _look(part, sure[part.rows])
        for column, values in zip(labels, of_labels, strict=True):
            column[part.label_rows] = values
        for column, values in zip(shown, of_detections, strict=True):
            column[part.rows] = values
    return Evidence(targets, judged, OfLabels(*labels), OfDetections(*shown), usual, confirmed)


def taken(values: NDArray[Any], rows: Ints, nothing: Any) -> NDArray[Any]:
    """Return ``values[rows]``, with ``nothing`` where the row is -1."""
    return np.append(values, nothing)[rows]


def _split(detections: DetectionColumns, targets: TargetColumns, judged: Bools) -> Callable[[], Iterator[_Part]]:
    """Split the images into parts."""
    rows, label_rows = (np.argsort(columns.image, kind="stable") for columns in (detections, targets))
    starts = np.arange(0, len(targets.image_rank) + _AT_ONCE, _AT_ONCE)
    cuts = np.searchsorted(detections.image[rows], starts)
    label_cuts = np.searchsorted(targets.image[label_rows], starts)

    def parts() -> Iterator[_Part]:
        for place in range(len(starts) - 1):
            own, labels = rows[cuts[place] : cuts[place + 1]], label_rows[label_cuts[place] : label_cuts[place + 1]]
            fields: dict[str, Any] = {name: getattr(targets, name)[labels] for name in _OF_A_LABEL}
            some = TargetColumns(**fields, image_rank=targets.image_rank)
            yield _Part(own, detections.take(own), labels, some, judged[labels])

    return parts


def _look(part: _Part, sure: Floats) -> tuple[OfLabels, OfDetections]:
    """Collect the evidence of a part; ``sure`` (N,) belongs to it."""
    detections, targets = part.detections, part.targets
    pairs, iou, nearest, crowd = overlapping_pairs(detections.xywh, targets, detections.image, targets.image, 1e-9)
    pairs = pairs.take(part.judged[pairs.target])
    row, target, strength = pairs.row, pairs.target, sure[pairs.row]
    of_class = detections.label[row] == targets.label[target]
    same = pairs.overlap >= SAME_OBJECT
    fits = of_class & (nearest[row] == target) & _hold_centers(detections.xywh[row], targets.xywh[target])
    own = _best(strength * pairs.overlap**2 * fits, pairs, len(targets))
    other = _best(strength * (same & ~of_class), pairs, len(targets))
    anything = _best(strength * same, pairs, len(targets))
    own_detection, other_detection = taken(row, own, -1), taken(row, other, -1)
    seen = taken(sure, own_detection, 0.0)
    labels = OfLabels(
        own=seen,
        own_detection=taken(part.rows, own_detection, -1),
        own_overlap=taken(pairs.overlap, own, 0.0),
        other=taken(sure, other_detection, 0.0),
        other_detection=taken(part.rows, other_detection, -1),
        other_overlap=taken(pairs.overlap, other, 0.0),
        twin_overlap=_twin_overlap(targets, part.judged, seen),
        object_detection=taken(part.rows, taken(row, anything, -1), -1),
    )
    overlap = np.maximum(iou, crowd)
    free = overlap < SAME_OBJECT
    free[own_detection[own_detection >= 0]] = False
    return labels, OfDetections(_missing(detections, targets, sure, overlap, np.flatnonzero(free)), overlap)


def _best(strength: Floats, pairs: Pairs, labels: int) -> Ints:
    """Find the pair of each label with the highest ``strength`` (P,), (M,), -1 where none is above 0."""
    order = np.argsort(strength, kind="stable")
    order = order[strength[order] > 0]
    best = np.full(labels, -1)
    best[pairs.target[order]] = order  # of repeated labels the last one written stays
    return best


def _hold_centers(boxes: Floats, others: Floats) -> Bools:
    """Tell whether two xywh boxes each contain the other's center, (P,)."""
    apart = np.abs(boxes[:, :2] + boxes[:, 2:] / 2 - others[:, :2] - others[:, 2:] / 2)
    return np.asarray((apart <= np.minimum(boxes[:, 2:], others[:, 2:]) / 2).all(1))


def _twin_overlap(targets: TargetColumns, judged: Bools, seen: Floats) -> Floats:
    """Compute the highest IoU (M,) with a label on the same object that has more evidence (ties: the earlier)."""
    twins, *_ = overlapping_pairs(targets.xywh, targets, targets.image, targets.image, SAME_OBJECT)
    own, other = seen[twins.row], seen[twins.target]
    lesser = (own < other) | ((own == other) & (twins.row > twins.target))
    twins = twins.take(lesser & judged[twins.row] & judged[twins.target])
    overlap = np.zeros(len(targets))
    np.maximum.at(overlap, twins.row, twins.overlap)
    return overlap


def _missing(detections: DetectionColumns, targets: TargetColumns, sure: Floats, overlap: Floats, rows: Ints) -> Floats:
    """Estimate the probability (N,) that each of ``rows``, on no label's object, shows an object without a label.

    It is reduced by overlap with a label (``overlap``, (N,)) or with a surer detection of the same kind.
    """
    rows = rows[np.argsort(-sure[rows], kind="stable")]
    found = detections.take(rows)
    none = np.zeros(len(rows), np.bool_)
    as_targets = TargetColumns(found.image, found.label, found.xywh, sure[rows], none, none, targets.image_rank)
    pairs, *_ = overlapping_pairs(found.xywh, as_targets, found.image, found.image, 1e-9)
    surer = pairs.take(pairs.target < pairs.row)
    hidden = np.zeros(len(rows))
    np.maximum.at(hidden, surer.row, surer.overlap)
    probability = np.zeros(len(detections))
    probability[rows] = sure[rows] * (1 - overlap[rows]) * (1 - hidden)
    return probability
