"""Labels and detections ranked by how probably the label is wrong.

Where a detector disagrees with a label, either may be wrong. How far the detector is to be believed is read off the
data: a detection's score is calibrated, class by class, to the share of such detections that have a label, and the
distance of a label from its detection is judged by how the labels of its class usually scatter. So all scores are on
one scale, and nothing has a threshold but "the same object", which is IoU 0.5 as in VOC and COCO.

After confident learning (Northcutt et al. 2021, arXiv:1911.00068), whose thresholds are each class's own average, and
ObjectLab (Tkachenko et al. 2023, arXiv:2309.00832), whose overlooked, swapped and badly located boxes these are.

Shape shorthand: N detections, M labels, P overlapping pairs of both, n suspects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from boxwright.data.dataset import DetectionDataset
from boxwright.evaluate import (
    DetectionColumns,
    TargetColumns,
    match_detections,
    overlapping_pairs,
    to_detections,
    to_targets,
)
from boxwright.evaluate.columns import Bools, Floats, Ints
from boxwright.evaluate.matches import Pairs
from boxwright.hardest.calibration import calibrated, excess

KINDS = ("missing", "wrong-class", "shifted", "duplicate", "spurious")
"""What may be wrong: no label on an object; a label of another class; a box beside its object; a second label on an
object; a label where there is no object."""

MISSING, WRONG_CLASS, SHIFTED, DUPLICATE, SPURIOUS = range(len(KINDS))
SAME_OBJECT = 0.5


@dataclass(frozen=True, slots=True)
class Suspects:
    """Every label once, under the fault that is most probable, and every detection without one; by falling score."""

    kind: Ints
    """(n,) place in ``KINDS``."""
    score: Floats
    """(n,) in 0..1: how probably the label is wrong in this way."""
    image: Ints
    """(n,) place in the data set."""
    box: Ints
    """(n,) row of the label in the data set, -1 for a missing one."""
    label: Ints
    """(n,) its class, -1 for a missing one."""
    detection: Ints
    """(n,) row of the detection that speaks against the label, -1 where there is none; of a duplicate the one that is
    found of the two."""
    overlap: Floats
    """(n,) IoU of the label and that detection; of a duplicate with the other label; of a missing box with a label."""
    confidence: Floats
    """(n,) the detection's score, 0 where there is none."""
    suggested_label: Ints
    """(n,) the class that it should have, -1 where the label should go."""
    suggested_box: Floats
    """(n, 4) xyxy, the box that it should have; its own where that is right or should go."""

    def __len__(self) -> int:
        return len(self.score)

    def take(self, rows: Ints | Bools | slice) -> Suspects:
        """The rows chosen by an index, a mask or a slice."""
        return Suspects(*(getattr(self, name)[rows] for name in self.__slots__))


class _View(NamedTuple):
    """What the detector sees where the labels are."""

    detections: DetectionColumns
    targets: TargetColumns
    judged: Bools
    """(M,) labels that are neither crowd nor difficult."""
    sure: Floats
    """(N,) calibrated scores."""
    own: Floats
    """(M,) of the detection that the label has to itself, 0 where there is none."""
    pairs: Pairs
    of_class: Bools
    """(P,) both of one class."""
    same: Bools
    """(P,) both on the same object."""
    overlap: Floats
    """(N,) greatest IoU with a label, or share inside a crowd."""
    nearest: Ints
    """(N,) that label, -1 for none."""


class _Claims(NamedTuple):
    """One fault, label by label."""

    score: Floats
    """(M,) its probability."""
    detection: Ints
    """(M,) the detection that shows it, -1 for none."""
    overlap: Floats
    """(M,)"""


def rank_labels(detections: Any, dataset: DetectionDataset) -> Suspects:
    """Every label and every detection without one, by how probably the label is wrong.

    Crowds and difficult boxes are no suspects, and hide the detections on them.

    Args:
        detections: as ``boxwright.evaluate.to_detections`` takes them, kept from a low score, in the order of the data
            set. Better from detectors that did not see the image, see ``boxwright.hardest.folds``.

    Raises:
        ValueError: detections of another number of images or classes.
    """
    columns = to_detections(detections, num_images=len(dataset))
    view = _look(columns, to_targets(dataset), len(dataset.classes))
    shifted = _shifted(view)
    faults = (_wrong_class(view), shifted, _duplicate(view), _spurious(view, shifted.detection))
    missing = _missing(view, shifted.detection)
    suspects = _of_labels(view, dataset, faults), _of_detections(view, missing)
    joined = Suspects(*(np.concatenate([getattr(part, name) for part in suspects]) for name in Suspects.__slots__))
    return joined.take(np.lexsort((joined.overlap, -joined.score)))


def _look(detections: DetectionColumns, targets: TargetColumns, classes: int) -> _View:
    table = match_detections(detections, targets, classes, iou_thresholds=(SAME_OBJECT,))
    right = np.zeros(len(detections), np.bool_)
    right[table.detection] = table.true_positive[:, 0, 0]
    sure = np.zeros(len(detections))
    for label in range(classes):
        rows = detections.label == label
        sure[rows] = calibrated(detections.score[rows], right[rows])
    own = np.zeros(len(targets))
    hits = table.true_positive[:, 0, 0]
    own[table.target[hits, 0]] = sure[table.detection[hits]]
    judged = ~(targets.crowd | targets.difficult)
    pairs, iou, nearest, crowd = overlapping_pairs(detections.xywh, targets, detections.image, targets.image, 1e-9)
    pairs = pairs.take(judged[pairs.target])
    of_class = detections.label[pairs.row] == targets.label[pairs.target]
    same = pairs.overlap >= SAME_OBJECT
    overlap = np.maximum(iou, crowd)
    return _View(detections, targets, judged, sure, own, pairs, of_class, same, overlap, nearest.astype(np.int64))


def _strongest(view: _View, strength: Floats) -> tuple[Floats, Ints]:
    """The greatest ``strength`` (P,) of each label (M,), and the pair that has it: 0 and -1 where none is above 0."""
    order = np.argsort(strength, kind="stable")
    order = order[strength[order] > 0]
    pair = np.full(len(view.targets), -1)
    pair[view.pairs.target[order]] = order  # of repeated labels the last written stays
    return _taken(strength, pair, 0.0), pair


def _taken(values: NDArray[Any], rows: Ints, default: Any) -> NDArray[Any]:
    """``values[rows]``, and ``default`` where the row is -1."""
    return np.append(values, default)[rows]


def _claims(view: _View, score: Floats, pair: Ints) -> _Claims:
    return _Claims(score, _taken(view.pairs.row, pair, -1), _taken(view.pairs.overlap, pair, 0.0))


def _wrong_class(view: _View) -> _Claims:
    """A detection of another class on the object, and none of its own."""
    sure = view.sure[view.pairs.row] * view.same
    other, pair = _strongest(view, sure * ~view.of_class)
    own, _ = _strongest(view, sure * view.of_class)
    return _claims(view, other * (1 - own), pair)


def _shifted(view: _View) -> _Claims:
    """Farther from a sure detection than the labels of its class scatter, by the cube root of 1 - IoU.

    1 - IoU adds up what four sides are off, as a gamma variable would, whose cube root is nearly normal (Wilson and
    Hilferty 1931). A label's detection is of its class, each holds the other's centre, and neither has a nearer
    partner.
    """
    row, target = view.pairs.row, view.pairs.target
    fits = view.of_class & _hold_centres(view.detections.xywh[row], view.targets.xywh[target])
    _, pair = _strongest(view, view.sure[row] * view.pairs.overlap * fits)
    mutual = (pair >= 0) & (_taken(view.nearest, _taken(row, pair, -1), -1) == np.arange(len(pair)))
    pair = np.where(mutual, pair, -1)
    distance = np.cbrt(1 - _taken(view.pairs.overlap, pair, 0.0))
    score = np.zeros(len(pair))
    for label in np.unique(view.targets.label[mutual]):
        rows = mutual & (view.targets.label == label)
        score[rows] = excess(distance[rows])
    return _claims(view, score * _taken(view.sure, _taken(row, pair, -1), 0.0), pair)


def _hold_centres(boxes: Floats, others: Floats) -> Bools:
    """(P,) whether two xywh boxes each hold the other's centre."""
    apart = np.abs(boxes[:, :2] + boxes[:, 2:] / 2 - others[:, :2] - others[:, 2:] / 2)
    return np.asarray((apart <= np.minimum(boxes[:, 2:], others[:, 2:]) / 2).all(1))


def _duplicate(view: _View) -> _Claims:
    """On the same object as another label, without a detection to itself: of the two the one that is less certain."""
    targets = view.targets
    twins, *_ = overlapping_pairs(targets.xywh, targets, targets.image, targets.image, SAME_OBJECT)
    own, other = view.own[twins.row], view.own[twins.target]
    lesser = (own < other) | ((own == other) & (twins.row > twins.target))
    twins = twins.take(lesser & view.judged[twins.row] & view.judged[twins.target])
    _, pair = _strongest(view, view.sure[view.pairs.row] * view.same)
    overlap = np.zeros(len(targets))
    np.maximum.at(overlap, twins.row, twins.overlap)
    return _Claims(overlap * (1 - view.own), _taken(view.pairs.row, pair, -1), overlap)


def _spurious(view: _View, partner: Ints) -> _Claims:
    """Nothing is seen here, by how surely and closely the labels of this class are seen. What has a ``partner`` (M,),
    near or far, is seen."""
    seen, pair = _strongest(view, view.sure[view.pairs.row] * view.pairs.overlap)
    score = 1 - np.maximum(seen, _taken(view.sure, partner, 0.0))
    for label in np.unique(view.targets.label):
        rows = view.targets.label == label
        score[rows] *= seen[rows].mean()
    return _claims(view, score, pair)


def _missing(view: _View, spoken_for: Ints) -> Floats:
    """(N,) a detection on no label's object; ``spoken_for`` are the detections of shifted labels.

    It counts as far as it overlaps neither a label nor a surer detection of the same kind.
    """
    free = view.overlap < SAME_OBJECT
    free[spoken_for[spoken_for >= 0]] = False
    rows = np.flatnonzero(free)
    rows = rows[np.argsort(-view.sure[rows], kind="stable")]
    found = view.detections.take(rows)
    none = np.zeros(len(rows), np.bool_)
    as_targets = TargetColumns(
        found.image, found.label, found.xywh, view.sure[rows], none, none, view.targets.image_rank
    )
    pairs, *_ = overlapping_pairs(found.xywh, as_targets, found.image, found.image, 1e-9)
    surer = pairs.take(pairs.target < pairs.row)
    hidden = np.zeros(len(rows))
    np.maximum.at(hidden, surer.row, surer.overlap)
    score = np.zeros(len(view.detections))
    score[rows] = view.sure[rows] * (1 - view.overlap[rows]) * (1 - hidden)
    return score


def _of_labels(view: _View, dataset: DetectionDataset, faults: Sequence[_Claims]) -> Suspects:
    """The judged labels, each under its most probable fault, spurious where none is; ``faults`` in the order of
    ``KINDS`` after missing."""
    rows = np.flatnonzero(view.judged)
    worst = len(faults) - 1 - np.stack([fault.score for fault in reversed(faults)])[:, rows].argmax(0)
    score, detection, overlap = (
        np.stack([getattr(fault, name) for fault in faults])[worst, rows] for name in _Claims._fields
    )
    kind, label = worst + 1, view.targets.label[rows]
    said = _taken(view.detections.label, detection, -1)
    moved = np.append(view.detections.xyxy(), np.zeros((1, 4)), axis=0)[detection]
    return Suspects(
        kind=kind,
        score=score,
        image=view.targets.image[rows],
        box=rows,
        label=label,
        detection=detection,
        overlap=overlap,
        confidence=_taken(view.detections.score, detection, 0.0),
        suggested_label=np.select([kind == WRONG_CLASS, kind == SHIFTED], [said, label], -1),
        suggested_box=np.where((kind == SHIFTED)[:, None], moved, dataset.boxes[rows]),
    )


def _of_detections(view: _View, score: Floats) -> Suspects:
    """The detections that may show a missing label."""
    rows = np.flatnonzero(score > 0)
    found = view.detections.take(rows)
    none = np.full(len(rows), -1)
    return Suspects(
        kind=np.full(len(rows), MISSING),
        score=score[rows],
        image=found.image,
        box=none,
        label=none,
        detection=rows,
        overlap=view.overlap[rows],
        confidence=found.score,
        suggested_label=found.label,
        suggested_box=found.xyxy(),
    )
